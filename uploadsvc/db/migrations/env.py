"""Alembic's way in. The connection is handed over by ``uploadsvc.db.engine``."""

from alembic import context

from uploadsvc.db.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
