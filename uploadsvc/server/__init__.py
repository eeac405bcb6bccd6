"""What this service needs of gunicorn beyond its settings: ``worker`` closes refused requests
properly, ``logger`` sends gunicorn's words through our log, ``life`` starts and drains."""
