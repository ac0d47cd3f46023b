"""HTTP requests, each on a connection of its own, and `client` for several on one, to servers of this machine.

They are httpx's, but for the certificates of all the world: httpx reads these for every client that it makes, which
takes longer than the request. Who speaks TLS gives `verify` itself.
"""

from __future__ import annotations

import ssl
from functools import partial

import httpx

_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

get = partial(httpx.get, verify=_NOBODY)
head = partial(httpx.head, verify=_NOBODY)
post = partial(httpx.post, verify=_NOBODY)
delete = partial(httpx.delete, verify=_NOBODY)
request = partial(httpx.request, verify=_NOBODY)
client = partial(httpx.Client, verify=_NOBODY)
