"""nginx of Debian as a cache that many share, before a gateway: it keeps whatever it is not forbidden to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.parts.machine import free_ports, need
from tests.parts.processes import background, wait_until

CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log warn;
events {{ worker_connections 128; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  proxy_cache_path {folder}/kept keys_zone=kept:1m use_temp_path=off;
  proxy_cache_path {folder}/blind keys_zone=blind:1m use_temp_path=off;
  proxy_cache_path {folder}/careless keys_zone=careless:1m use_temp_path=off;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
  proxy_cache_valid any 10m;
  add_header X-Cache $upstream_cache_status always;
  server {{
    listen 127.0.0.1:{shared};
    location / {{ proxy_pass {behind}; proxy_cache kept; }}
  }}
  server {{
    listen 127.0.0.1:{blind};
    location / {{ proxy_pass {behind}; proxy_cache blind; proxy_ignore_headers Vary; }}
  }}
  server {{
    listen 127.0.0.1:{careless};
    location / {{ proxy_pass {behind}; proxy_cache careless; proxy_ignore_headers Vary Cache-Control Expires; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Caches:
    """Three addresses of one gateway: `shared` keeps to what it is told, `blind` knows no Vary, `careless` knows no
    Cache-Control either. The last one is there to show that there is something to be seen.
    """

    shared: str
    blind: str
    careless: str


@contextmanager
def caches(folder: Path, behind: str) -> Iterator[Caches]:
    """Run it before the gateway at the URL `behind`; X-Cache of each answer says whether it was kept."""
    folder.mkdir(exist_ok=True)
    ports = dict(zip(("shared", "blind", "careless"), free_ports(3), strict=True))
    file, log = folder / "nginx.conf", folder / "nginx.log"
    file.write_text(CONFIGURATION.format(folder=folder, behind=behind, **ports))

    def listens() -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", ports["careless"])) == 0

    with background([need("nginx"), "-c", str(file), "-e", str(log)], log, patience=3.0) as process:
        wait_until(listens, "nginx", process, log)
        yield Caches(**{name: f"http://127.0.0.1:{port}" for name, port in ports.items()})
