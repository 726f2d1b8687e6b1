"""Alembic runs on the connection that `consilium_records.migrate` hands over."""

from alembic import context

from consilium_records import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
