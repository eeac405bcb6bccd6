"""What gunicorn serves: ``gunicorn -c gunicorn.conf.py wsgi:app``."""

from uploadsvc.app import create_app

app = create_app()
