"""Objects in a bucket of any server that speaks S3."""

from storage.objects.s3.store import S3Store

__all__ = ["S3Store"]
