"""Encryption at rest in S3: what the server is asked for with each object, and told again to read it.

In a folder it is the file system's, below us.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

KEY_BYTES = 32
_BEGINS = frozenset({"put_object", "create_multipart_upload"})
_HANDS_KEY = _BEGINS | {"upload_part", "get_object", "head_object"}
_HEADER = "x-amz-server-side-encryption-customer-"


@dataclass(frozen=True, slots=True)
class Encryption:
    """How a bucket's objects are encrypted: `method` is what S3 calls it (AES256, aws:kms; none: as the bucket says),
    `key` names the key of aws:kms (none: the server's own). The server notes it with each object.

    With a `customer_key` (32 bytes) the server encrypts with that, notes its MD5, and forgets it: without the same key
    nothing can be read.
    """

    method: str = ""
    key: str = ""
    customer_key: bytes = field(default=b"", repr=False)

    def parameters(self, operation: str) -> Mapping[str, str | bytes]:
        """What a call of the library has beyond its own."""
        if self.customer_key:
            if operation not in _HANDS_KEY:
                return {}
            return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": self.customer_key}
        if not self.method or operation not in _BEGINS:
            return {}
        return {"ServerSideEncryption": self.method, **({"SSEKMSKeyId": self.key} if self.key else {})}

    def headers(self) -> Mapping[str, str]:
        """The same for a GET that is made without the library."""
        if not self.customer_key:
            return {}
        return {
            f"{_HEADER}algorithm": "AES256",
            f"{_HEADER}key": b64encode(self.customer_key).decode(),
            f"{_HEADER}key-MD5": b64encode(hashlib.md5(self.customer_key, usedforsecurity=False).digest()).decode(),
        }
