"""What an object in a folder is held against."""

from __future__ import annotations

from storage.seal import Sealer


def sealed(data: bytes) -> str:
    """The seal of a file."""
    sealer = Sealer()
    sealer.update(data)
    return sealer.hexdigest()
