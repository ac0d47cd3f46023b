"""Runs migrations on the connection and in the transaction of `storage.index.migrate`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None, transactional_ddl=True)
context.run_migrations()
