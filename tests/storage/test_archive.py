"""The order of writes, deletes and sweeps, on a folder and SQLite and on real S3 and PostgreSQL."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage import Archive, open_archive
from storage.errors import DuplicateConflict, IndexStoreError, IndexUnavailable, ObjectStoreFull
from storage.index import Added, Index
from storage.objects import ObjectStore
from storage.objects.memory import MemoryStore
from storage.records import InstanceRecord
from storage.spool import Spool
from storage.versions import new_version
from tests.storage.records import record

DAY = 86400.0


@pytest.fixture(params=["folder+sqlite", "seaweedfs+postgres"])
def archive(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """An empty archive."""
    if request.param == "folder+sqlite":
        made = open_archive((tmp_path / "objects").as_uri(), f"sqlite:///{tmp_path / 'index.db'}", tmp_path / "spool")
    else:
        server = request.getfixturevalue("seaweedfs")
        for name, value in server.environ().items():
            monkeypatch.setenv(name, value)
        url = request.getfixturevalue("postgres").database()
        made = open_archive(f"s3://{server.bucket()}/test", url, tmp_path / "spool", endpoint=server.endpoint)
    yield made
    made.close()


def put(archive: Archive, one: InstanceRecord, content: bytes = b"content") -> Added:
    """Store `content` as the instance of a record, with true digests."""
    path, file = archive.spool.create(new_version())
    with file:
        file.write(content)
    try:
        digest = hashlib.sha256(content).hexdigest()
        return archive.add(replace(one, size=len(content), digest=digest, dataset_digest=digest), path)
    finally:
        path.unlink(missing_ok=True)


def keys(archive: Archive, prefix: str = "obj/") -> list[str]:
    return [info.key for info in archive.objects.keys(prefix)]


def test_a_stored_instance_can_be_read_back(archive: Archive) -> None:
    one = record()
    assert put(archive, one) is Added.STORED
    (located,) = archive.locate("1.2.3", "1.2.3.1", one.sop_uid)
    assert archive.read(located) == b"content"
    assert archive.read(located, 3, 2) == b"te"
    assert keys(archive) == [one.key]


def test_a_duplicate_writes_nothing_twice(archive: Archive) -> None:
    """STOW-13"""
    put(archive, record())
    assert put(archive, record()) is Added.DUPLICATE
    assert len(keys(archive)) == 1


def test_other_bytes_are_refused_and_leave_no_object(archive: Archive) -> None:
    """F-47"""
    put(archive, record())
    with pytest.raises(DuplicateConflict):
        put(archive, record(), b"other")
    with pytest.raises(DuplicateConflict):
        put(archive, record(study_uid="9.9"), b"content")
    assert len(keys(archive)) == 1


def test_delete_hides_at_once_and_removes_the_bytes_later(archive: Archive) -> None:
    """F-04"""
    one, other = record("1.2.3.1.1"), record("1.2.3.2.1", series_uid="1.2.3.2")
    put(archive, one)
    put(archive, other)
    assert len(archive.delete("1.2.3", "1.2.3.1")) == 1
    assert archive.find(one.sop_uid) is None
    assert archive.find(other.sop_uid) is not None
    assert archive.collect() == 0
    assert len(keys(archive)) == 2
    assert set(archive.tombs()) == {one.version}
    assert archive.collect(now=time.time() + 3 * DAY + 60) == 1
    assert keys(archive) == [other.key]
    assert keys(archive, "tomb/") == []
    assert archive.delete("1.2.3", "1.2.3.1") == []


def test_the_sweep_removes_orphans_at_second_sight_and_nothing_else(archive: Archive) -> None:
    """F-29"""
    live, buried = record("1.2.3.1.1"), record("1.2.3.1.2")
    put(archive, live)
    put(archive, buried)
    archive.delete("1.2.3", "1.2.3.1", buried.sop_uid)
    now = time.time()
    old_version, young_version = new_version(now - 2 * DAY), new_version()
    old, young = archive.key("1.9.1", old_version), archive.key("1.9.2", young_version)
    for key in (old, young):
        archive.objects.put_bytes(key, b"orphan")
    assert archive.sweep(now) == 0
    assert archive.sweep(now + DAY / 2) == 0
    assert old in keys(archive)
    # a day later the young one is old enough to be seen for the first time
    assert archive.sweep(now + DAY + 60) == 1
    assert sorted(keys(archive)) == sorted([live.key, buried.key, young])


def test_a_tomb_whose_delete_never_happened_is_swept(archive: Archive) -> None:
    """F-04"""
    one = record()
    put(archive, one)
    archive.objects.put_bytes(f"tomb/{new_version()}.json", b'{"versions": ["' + one.version.encode() + b'"]}')
    archive.sweep(time.time() + 2 * DAY)
    assert archive.tombs() == {}
    assert archive.find(one.sop_uid) is not None


def test_objects_are_listed_by_instance_oldest_version_first(archive: Archive) -> None:
    first, second = new_version(), new_version()
    for version in (second, first):
        archive.objects.put_bytes(archive.key("1.2.3", version), b"x")
    archive.objects.put_bytes(archive.key("1.2.4", first), b"x")
    groups = [[info.key for info in group] for group in archive.stored()]
    assert [archive.key("1.2.3", first), archive.key("1.2.3", second)] in groups
    assert [archive.key("1.2.4", first)] in groups
    assert len(list(archive.stored(after=groups[0][-1]))) == 1


# ---------------------------------------------------------------- each step of a store breaks


class Breaking:
    """Passes everything on to `inner`; the method `name` raises `error` instead."""

    def __init__(self, inner: ObjectStore | Index, name: str, error: Exception) -> None:
        self._inner, self._name, self._error = inner, name, error

    def __getattr__(self, name: str) -> Callable[..., object]:
        if name == self._name:

            def broken(*_args: object, **_named: object) -> object:
                raise self._error

            return broken
        found: Callable[..., object] = getattr(self._inner, name)
        return found


@pytest.mark.parametrize(
    ("part", "method", "error", "orphans"),
    [
        ("index", "find", IndexUnavailable("down"), 0),
        ("objects", "put", ObjectStoreFull("full"), 0),
        ("index", "add", IndexUnavailable("outcome unknown"), 1),
        ("index", "add", DuplicateConflict("1.2.3.1.1", "different_bytes"), 0),
    ],
)
def test_whatever_step_fails_nothing_half_stored_is_visible(
    tmp_path: Path, part: str, method: str, error: Exception, orphans: int
) -> None:
    """F-01, F-11: the object is an orphan at worst; a retry succeeds."""
    whole = open_archive("memory:", f"sqlite:///{tmp_path / 'index.db'}", tmp_path / "spool")
    objects: Any = Breaking(whole.objects, method, error) if part == "objects" else whole.objects
    index: Any = Breaking(whole.index, method, error) if part == "index" else whole.index
    broken = Archive(objects, index, whole.spool)
    with pytest.raises(type(error)):
        put(broken, record())
    assert whole.find("1.2.3.1.1") is None
    assert whole.index.count() == (0, 0, 0)
    assert len(keys(whole)) == orphans
    assert put(whole, record()) is Added.STORED
    whole.close()


# ---------------------------------------------------------------- what belongs together


def test_an_index_over_another_store_is_refused(tmp_path: Path) -> None:
    """F-14"""
    index = f"sqlite:///{tmp_path / 'index.db'}"
    open_archive((tmp_path / "a").as_uri(), index, tmp_path / "spool").close()
    with pytest.raises(IndexStoreError, match="another object store"):
        open_archive((tmp_path / "b").as_uri(), index, tmp_path / "spool")


def test_an_empty_index_over_a_store_with_objects_wants_a_rebuild(tmp_path: Path) -> None:
    """F-42"""
    objects = (tmp_path / "objects").as_uri()
    first = open_archive(objects, f"sqlite:///{tmp_path / 'index.db'}", tmp_path / "spool")
    put(first, record())
    first.close()
    second = open_archive(objects, f"sqlite:///{tmp_path / 'new.db'}", tmp_path / "spool")
    assert second.index.note("rebuild") == "needed"
    second.close()


def test_opening_removes_what_a_crash_left_in_the_spool(tmp_path: Path) -> None:
    """F-01"""
    spool = Spool(tmp_path / "spool")
    path, file = spool.create(new_version())
    file.close()
    archive = open_archive("memory:", f"sqlite:///{tmp_path / 'index.db'}", tmp_path / "spool")
    assert isinstance(archive.objects, MemoryStore)
    assert not path.exists()
    archive.close()


@pytest.mark.parametrize("url", ["ftp://host/x", "s3://", "/plain/path", ""])
def test_a_url_that_names_no_store_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="object store"):
        open_archive(url, f"sqlite:///{tmp_path / 'index.db'}", tmp_path / "spool")
