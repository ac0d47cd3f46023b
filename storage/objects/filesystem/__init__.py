"""Objects as files below one folder."""

from storage.objects.filesystem.store import FolderStore

__all__ = ["FolderStore"]
