"""Doctor: is everything in place for the gateway to run; and where not, what to do about it.

Looks and tries out, changes nothing: what it writes it removes. Safe beside a running gateway.
"""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway import running
from gateway.app import FILES, FILES_PER_ASSOCIATION
from gateway.dicom.codecs import missing_codecs
from gateway.errors import GatewayError
from gateway.settings import BadSettings, Settings, check_exposure, split_address
from gateway.tls import Files, ServerTls
from storage import open_index, open_objects
from storage.errors import IndexBehind, IndexBusy, ObjectStoreError, StorageError
from storage.highwater import HighWater
from storage.index import Index
from storage.objects import ObjectStore
from storage.versions import new_version

OK, WARNING, FAILURE = "ok", "warning", "failure"
FEW_BYTES = 5 << 30
FEW_FILES = 100_000
SKEW = 60.0
"""Seconds that our clock may differ from those of S3 and PostgreSQL: leases and tombs go by it."""
SOON = 14 * 86_400.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to: `ok`, `warning` or `failure`, in words, and what to do."""

    check: str
    state: str
    what: str
    advice: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """All checks, one after the other."""
    for check in (_exposure, _data, _room, _objects, _index, _files, _codecs, _certificate, _doors):
        try:
            yield from check(settings)
        except (StorageError, GatewayError, BadSettings, OSError, ValueError) as error:
            yield Finding(check.__name__.strip("_"), FAILURE, str(error) or type(error).__name__)


def _exposure(settings: Settings) -> Iterator[Finding]:
    try:
        check_exposure(settings)
    except BadSettings as error:
        yield Finding("settings", FAILURE, str(error), "set what is named, or listen on loopback only")
    else:
        yield Finding("settings", OK, f"http {settings.http}, dimse {settings.aet}@{settings.dimse}")


def _data(settings: Settings) -> Iterator[Finding]:
    folder = settings.data.resolve()
    if not folder.exists():
        yield Finding("data", OK, f"{folder} is not there yet; the first start makes it")
        return
    try:
        probe = folder / f".doctor-{new_version()}"
        with probe.open("xb") as file:
            file.write(bytes(4096))
            begun = time.perf_counter()
            os.fsync(file.fileno())
        probe.unlink()
    except OSError as error:
        yield Finding(
            "data", FAILURE, f"{folder} cannot be written: {error.strerror}", "give it to the user that runs this"
        )
        return
    took = (time.perf_counter() - begun) * 1000
    if took > 200:
        yield Finding(
            "data", WARNING, f"a sync of {folder} takes {took:.0f} ms", "every store waits for it: a faster disk helps"
        )
    else:
        yield Finding("data", OK, f"{folder} can be written; a sync takes {took:.1f} ms")


def _room(settings: Settings) -> Iterator[Finding]:
    folder = settings.data.resolve()
    while not folder.exists():
        folder = folder.parent
    facts = os.statvfs(folder)
    free, files = facts.f_bavail * facts.f_frsize, facts.f_favail
    words = f"{free / (1 << 30):.1f} GiB free at {folder}"
    if free <= settings.spool_reserve:
        yield Finding("room", FAILURE, words, "nothing can be stored: make room, or lower spool_reserve")
    elif free < FEW_BYTES:
        yield Finding("room", WARNING, words, "make room soon")
    else:
        yield Finding("room", OK, words)
    if facts.f_files and files < FEW_FILES:
        yield Finding(
            "room", WARNING, f"{files} files can still be made there", "each instance is a file: more inodes are needed"
        )


def _open_objects(settings: Settings) -> ObjectStore:
    return open_objects(
        settings.objects_url,
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        encryption=settings.encryption,
    )


def _objects(settings: Settings) -> Iterator[Finding]:
    store = _open_objects(settings)
    try:
        begun = time.perf_counter()
        key, data = f"doctor/{new_version()}", os.urandom(1 << 16)
        store.check()
        store.put_bytes(key, data)
        try:
            same = store.read(key) == data
        finally:
            store.delete(key)
        took = (time.perf_counter() - begun) * 1000
        facts = store.facts()
    except StorageError as error:
        cause = f": {type(error.__cause__).__name__}" if error.__cause__ else ""
        advice = (
            "is it up, are endpoint, bucket and credentials right?" if settings.objects_url.startswith("s3:") else ""
        )
        yield Finding("objects", FAILURE, f"{settings.objects_url}: {error}{cause}", advice)
        return
    finally:
        store.close()
    if not same:
        yield Finding("objects", FAILURE, "what was read is not what was written", "do not use this store")
        return
    words = ", ".join(f"{name} {value}" for name, value in facts.items() if name not in ("clock", "public"))
    yield Finding(
        "objects",
        OK,
        f"{settings.objects_url}: written, read and removed in {took:.0f} ms" + (f"; {words}" if words else ""),
    )
    if "public" in facts:
        what = f"anybody may {facts['public']} what is in the bucket, without credentials"
        yield Finding("objects", FAILURE, what, "forbid it, by the bucket's policy or a block of public access")
    yield from _clock("objects", facts.get("clock"))


def _clock(check: str, theirs: str | None) -> Iterator[Finding]:
    if theirs is None:
        return
    skew = float(theirs) - time.time()
    if abs(skew) > SKEW:
        yield Finding(check, FAILURE, f"its clock differs from ours by {skew:.0f} s", "let both follow a time server")
    else:
        yield Finding(check, OK, f"its clock differs from ours by {abs(skew):.0f} s")


def _index(settings: Settings) -> Iterator[Finding]:
    scheme = settings.index_url.partition(":")[0]
    if scheme == "sqlite" and not Path(settings.index_url.removeprefix("sqlite:///")).exists():
        yield Finding("index", OK, "there is no index yet; the first start makes it")
        return
    try:
        index = open_index(settings.index_url)
    except IndexBusy:
        found = running.address(settings.data)
        if found is None:
            raise
        history = running.ask(*found, "/readyz")["checks"].get("history", {})
        yield Finding("index", OK, f"in use by the gateway that runs at {found[0].partition('#')[0]}")
        yield from _history(history.get("reason") == IndexBehind.reason)
        return
    try:
        facts = index.facts()
        waits = index.note("rebuild")
        studies, series, instances = index.count()
        behind = _is_behind(settings, index)
    finally:
        index.close()
    words = ", ".join(f"{name} {value}" for name, value in facts.items() if name not in ("clock", "trouble"))
    if trouble := facts.get("trouble"):
        yield Finding("index", FAILURE, f"{words}: {trouble}", "restore a backup, or `gantry index rebuild`")
    elif waits is not None:
        yield Finding("index", FAILURE, "it does not know all stored objects", "run `gantry index rebuild`")
    else:
        yield Finding("index", OK, f"{words}; {instances} instances in {series} series of {studies} studies")
    if facts.get("synchronous_commit", "on") in ("off", "local"):
        yield Finding(
            "index", WARNING, "synchronous_commit does not wait", "a crash of the server may lose what was acknowledged"
        )
    if facts.get("recovery") == "true":
        yield Finding("index", FAILURE, "this server is a standby", "name the primary")
    yield from _history(behind)
    yield from _clock("index", facts.get("clock"))


def _is_behind(settings: Settings, index: Index) -> bool:
    """Is the index older than the objects? Objects that cannot be asked are another check's."""
    try:
        store = _open_objects(settings)
        try:
            water = HighWater(store, index)
            return water.behind() is not None or water.is_older()
        finally:
            store.close()
    except ObjectStoreError:
        return False


def _history(behind: bool) -> Iterator[Finding]:
    if behind:
        what = "the index is older than the stored objects: a backup was restored, or another server took over"
        yield Finding("history", FAILURE, what, "stop every gateway and run `gantry index reconcile`")


def _files(settings: Settings) -> Iterator[Finding]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES + FILES_PER_ASSOCIATION * settings.max_associations
    if most != resource.RLIM_INFINITY and most < wanted:
        yield Finding(
            "files", WARNING, f"{most} open files allowed, {wanted} wanted", "raise the hard limit (LimitNOFILE=)"
        )
    else:
        yield Finding("files", OK, f"{wanted} open files are allowed")


def _codecs(_settings: Settings) -> Iterator[Finding]:
    lacking = missing_codecs()
    if lacking:
        yield Finding("codecs", FAILURE, "missing: " + ", ".join(lacking), "install the distribution again")
    else:
        yield Finding("codecs", OK, "JPEG, JPEG-LS, JPEG 2000, HTJ2K, JPEG XL, RLE")


def _certificate(settings: Settings) -> Iterator[Finding]:
    if not settings.dimse_tls:
        return
    left = ServerTls(Files.of_dimse(settings)).expires - time.time()
    words = f"the certificate of the DIMSE listener expires in {left / 86_400:.0f} days"
    if left < 0:
        yield Finding("certificate", FAILURE, "the certificate of the DIMSE listener has expired", "renew it")
    elif left < SOON:
        yield Finding("certificate", WARNING, words, "renew it soon")
    else:
        yield Finding("certificate", OK, words)


def _doors(settings: Settings) -> Iterator[Finding]:
    """Can they be listened on? Nothing is accepted."""
    if (found := running.address(settings.data)) is not None:
        yield Finding("doors", OK, f"a gateway runs at {found[0].partition('#')[0]}")
        return
    for name, address in (("http", settings.http), ("dimse", settings.dimse), ("dimse_tls", settings.dimse_tls)):
        if not address:
            continue
        host, port = split_address(address)
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            socket.create_server((host, port), family=family).close()
        except OSError as error:
            yield Finding(
                "doors",
                FAILURE,
                f"{name}: {address} cannot be listened on: {error.strerror}",
                "free it, or set another",
            )
        else:
            yield Finding("doors", OK, f"{name}: {address} can be listened on")
