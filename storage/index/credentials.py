"""The table of credentials, and what is done with it: a part of the index, so that all gateways know them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from sqlalchemy import Column, Connection, Float, Index, Table, delete, insert, select, update

from storage.credentials import Credential
from storage.index.schema import _TEXT, metadata

T = TypeVar("T")

credential = Table(
    "credential",
    metadata,
    Column("id", _TEXT, primary_key=True),
    Column("kind", _TEXT, nullable=False),
    Column("name", _TEXT, nullable=False),
    Column("secret", _TEXT, nullable=False),
    Column("limits", _TEXT, nullable=False),
    Column("made_by", _TEXT, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
)
Index(None, credential.c.kind, credential.c.name)
Index(None, credential.c.expires_at)


class Credentials:
    """The credentials of an index; see `storage.index.Index`. A part of `SqlIndex`."""

    _write: Callable[[Callable[[Connection], T]], T]
    _reading: Callable[[], AbstractContextManager[Connection]]

    def add_credential(self, new: Credential) -> None:
        """See `Index.add_credential`."""
        values = {column.name: getattr(new, column.name) for column in credential.columns}
        self._write(lambda connection: connection.execute(insert(credential).values(**values)))

    def credential(self, id: str) -> Credential | None:
        """See `Index.credential`."""
        with self._reading() as connection:
            row = connection.execute(select(credential).where(credential.c.id == id)).one_or_none()
            return None if row is None else Credential(*row)

    def credentials(self, kind: str, name: str | None = None) -> list[Credential]:
        """See `Index.credentials`."""
        statement = select(credential).where(credential.c.kind == kind)
        if name is not None:
            statement = statement.where(credential.c.name == name)
        with self._reading() as connection:
            rows = connection.execute(statement.order_by(credential.c.created_at, credential.c.id))
            return [Credential(*row) for row in rows]

    def revoke_credential(self, id: str, now: float) -> bool:
        """See `Index.revoke_credential`."""

        def revoke(connection: Connection) -> bool:
            alive = (credential.c.id == id) & credential.c.revoked_at.is_(None)
            return connection.execute(update(credential).where(alive).values(revoked_at=now)).rowcount > 0

        return self._write(revoke)

    def expire_credentials(self, before: float) -> int:
        """See `Index.expire_credentials`."""

        def forget(connection: Connection) -> int:
            over = (credential.c.expires_at < before) | (credential.c.revoked_at < before)
            return connection.execute(delete(credential).where(over)).rowcount

        return self._write(forget)
