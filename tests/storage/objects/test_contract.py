"""What every object store does, shown on each: in memory, in a folder, on SeaweedFS, on Ceph's RADOS Gateway."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from storage.errors import ObjectDamaged, ObjectExists, ObjectMissing, ObjectStoreUnavailable
from storage.objects import CHUNK, ObjectStore
from storage.objects.filesystem import FolderStore
from storage.objects.memory import MemoryStore
from storage.objects.s3 import S3Store
from tests.parts.s3 import S3Server

Put = Callable[[str, bytes], None]


@pytest.fixture(scope="module", params=["memory", "folder", "seaweedfs", "rgw"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A store of each kind; making a client is dear, so all tests share it."""
    with pytest.MonkeyPatch.context() as environment:
        store: ObjectStore
        if request.param == "memory":
            store = MemoryStore()
        elif request.param == "folder":
            store = FolderStore(tmp_path_factory.mktemp("folder") / "objects")
        else:
            server: S3Server = request.getfixturevalue(request.param)
            for name, value in server.environ().items():
                environment.setenv(name, value)
            store = S3Store(server.bucket(), "some/prefix", endpoint=server.endpoint)
        with closing(store):
            yield store


@pytest.fixture
def store(opened: ObjectStore) -> ObjectStore:
    """A store of each kind, empty."""
    for info in opened.keys(""):
        opened.delete(info.key)
    return opened


def put_into(store: ObjectStore, folder: Path, key: str, data: bytes) -> None:
    """Put `data` by way of a file."""
    source = folder / f"{uuid4().hex}.part"
    source.write_bytes(data)
    store.put(key, source, sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture
def put(store: ObjectStore, tmp_path: Path) -> Put:
    """Put bytes under a key of the store."""
    return lambda key, data: put_into(store, tmp_path, key, data)


def fresh_key() -> str:
    """A key of the form that received objects get."""
    digest = hashlib.sha256(uuid4().bytes).hexdigest()
    return f"obj/{digest[:2]}/{digest[:32]}-{uuid4().hex}.dcm"


def test_what_was_put_is_read_byte_for_byte(store: ObjectStore, put: Put) -> None:
    key, data = fresh_key(), os.urandom(530_000)
    put(key, data)
    assert store.read(key) == data
    assert store.size(key) == len(data)


def test_an_empty_object_is_an_object(store: ObjectStore, put: Put) -> None:
    key = fresh_key()
    put(key, b"")
    assert store.read(key) == b""
    assert store.size(key) == 0
    with store.stream(key) as chunks:
        assert list(chunks) == []


def test_a_range_is_exactly_the_bytes_asked_for(store: ObjectStore, put: Put) -> None:
    key, data = fresh_key(), bytes(range(100))
    put(key, data)
    ranges = [(0, 1), (0, 100), (10, 80), (99, 1), (50, None), (0, None), (100, None), (100, 0), (7, 0)]
    for start, length in ranges:
        expected = data[start:] if length is None else data[start : start + length]
        assert store.read(key, start, length) == expected
        with store.stream(key, start, length) as chunks:
            assert b"".join(chunks) == expected


def test_a_range_beyond_the_end_is_damage_never_fewer_bytes(store: ObjectStore, put: Put) -> None:
    """F-18."""
    key = fresh_key()
    put(key, bytes(100))
    for start, length in [(0, 101), (99, 2), (100, 1), (101, 0), (101, None), (5000, 10)]:
        with pytest.raises(ObjectDamaged):
            store.read(key, start, length)
        with pytest.raises(ObjectDamaged), store.stream(key, start, length) as chunks:
            b"".join(chunks)


def test_a_promised_length_is_not_believed_before_it_is_looked_at(store: ObjectStore, put: Put) -> None:
    key = fresh_key()
    put(key, b"short")
    with pytest.raises(ObjectDamaged):
        store.read(key, 0, 1 << 50)


@pytest.mark.parametrize(("start", "length"), [(-1, None), (0, -1)])
def test_a_negative_range_is_a_mistake_of_the_caller(store: ObjectStore, start: int, length: int | None) -> None:
    with pytest.raises(ValueError):
        store.read(fresh_key(), start, length)


def test_a_large_object_streams_in_chunks(store: ObjectStore, put: Put) -> None:
    key, data = fresh_key(), os.urandom(5 * CHUNK // 2)
    put(key, data)
    with store.stream(key, 3) as chunks:
        pieces = [bytes(piece) for piece in chunks]
    assert b"".join(pieces) == data[3:]
    assert max(map(len, pieces)) <= CHUNK


def test_a_stream_may_be_left_before_its_end(store: ObjectStore, put: Put) -> None:
    key, data = fresh_key(), os.urandom(3 * CHUNK)
    put(key, data)
    for _ in range(40):  # more than there are connections, should one be lost each time
        with store.stream(key) as chunks:
            assert data.startswith(bytes(next(chunks)))
    assert store.read(key, 5, 10) == data[5:15]


def test_what_is_not_there_is_missing(store: ObjectStore) -> None:
    key = fresh_key()
    for start, length in ((0, None), (3, 4), (3, 0)):
        with pytest.raises(ObjectMissing):
            store.read(key, start, length)
    with pytest.raises(ObjectMissing):
        store.size(key)
    with pytest.raises(ObjectMissing), store.stream(key):
        pytest.fail("entered")


def test_a_taken_key_is_never_overwritten(store: ObjectStore, put: Put) -> None:
    key = fresh_key()
    put(key, b"first")
    for data in (b"other", b"first"):
        with pytest.raises(ObjectExists):
            put(key, data)
    assert store.read(key) == b"first"


def test_of_many_writers_of_one_key_one_wins(store: ObjectStore, tmp_path: Path) -> None:
    key = fresh_key()

    def write(number: int) -> bytes | None:
        data = bytes([number]) * 50_000
        try:
            put_into(store, tmp_path, key, data)
        except ObjectExists:
            return None
        return data

    store.check()
    with ThreadPoolExecutor(8) as threads:
        winners = [data for data in threads.map(write, range(8)) if data is not None]
    assert [store.read(key)] == winners


def test_many_threads_share_a_store(store: ObjectStore, tmp_path: Path) -> None:
    folder = "obj/ab/" + "0" * 32
    objects = {f"{folder}/{number}.dcm": os.urandom(3000) for number in range(40)}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: put_into(store, tmp_path, key, objects[key]), objects))
        assert list(threads.map(store.read, objects)) == list(objects.values())


def test_metadata_do_not_disturb(store: ObjectStore, tmp_path: Path) -> None:
    key, source = fresh_key(), tmp_path / "a.part"
    source.write_bytes(b"bytes")
    digest = hashlib.sha256(b"bytes").hexdigest()
    store.put(key, source, sha256=digest, metadata={"digest": digest, "dataset-digest": "0" * 64})
    assert store.read(key) == b"bytes"


def test_a_source_that_is_gone_is_an_error_of_storage_and_leaves_nothing(store: ObjectStore, tmp_path: Path) -> None:
    """F-69."""
    key = fresh_key()
    with pytest.raises(ObjectStoreUnavailable):
        store.put(key, tmp_path / "gone.part", sha256="0" * 64)
    with pytest.raises(ObjectMissing):
        store.size(key)


def test_derived_bytes_replace_what_was_there(store: ObjectStore) -> None:
    store.put_bytes("derived/series/1.json", b"old and longer")
    store.put_bytes("derived/series/1.json", b"new")
    assert store.read("derived/series/1.json") == b"new"
    store.put_bytes("store-id/1", b"")
    assert store.read("store-id/1") == b""


def test_what_was_deleted_is_missing_and_may_be_deleted_again(store: ObjectStore, put: Put) -> None:
    key, sibling = fresh_key(), fresh_key()
    put(key, b"a")
    put(sibling, b"b")
    store.delete(key)
    store.delete(key)
    store.delete(fresh_key())
    with pytest.raises(ObjectMissing):
        store.read(key)
    assert [info.key for info in store.keys("")] == [sibling]
    put(key, b"c")
    assert store.read(key) == b"c"


def test_keys_come_in_order_with_their_sizes(store: ObjectStore, put: Put) -> None:
    keys = sorted(fresh_key() for _ in range(20))
    keys += [keys[-1].replace(".dcm", "-2.dcm")]
    for size, key in enumerate(reversed(keys)):
        put(key, bytes(size))
    keys.sort()
    store.put_bytes("derived/1.json", b"{}")
    assert [info.key for info in store.keys("obj/")] == keys
    assert [info.key for info in store.keys("")] == ["derived/1.json", *keys]
    assert sorted(info.size for info in store.keys("obj/")) == list(range(len(keys)))
    for at in (0, 7, len(keys) - 1):
        assert [info.key for info in store.keys("obj/", after=keys[at])] == keys[at + 1 :]
    assert [info.key for info in store.keys("obj/", after=keys[3][:-1])] == keys[3:]
    assert [info.key for info in store.keys(keys[5])] == [keys[5]]
    assert [info.key for info in store.keys(keys[5][:5])] == [key for key in keys if key.startswith(keys[5][:5])]
    assert list(store.keys("nothing/")) == []


def test_an_empty_store_has_no_keys(store: ObjectStore) -> None:
    store.check()
    assert list(store.keys("")) == []


def test_a_list_may_be_left_before_its_end(store: ObjectStore, put: Put) -> None:
    key = fresh_key()
    put(key, b"")
    put(fresh_key(), b"")
    next(iter(store.keys("")))
    store.delete(key)


NO_KEYS = [
    "",
    "one",
    "/etc/passwd",
    "../x/y",
    "obj/../../x",
    "obj/./x",
    "obj//x",
    "obj/x/",
    "obj/.hidden",
    ".unfinished/x",
    "spool/x",
    "obj/a\\b",
    "obj/a\0b",
    "obj/a\n",
    "obj/A",
    "obj/é",
    "obj/\u0661",
    "obj/" + "x" * 256,
    "obj" + "/x" * 1000,
]


def test_what_is_no_key_touches_nothing(store: ObjectStore, put: Put) -> None:
    """S-21."""
    uses: list[Callable[[str], object]] = [
        lambda key: put(key, b"x"),
        lambda key: store.put_bytes(key, b"x"),
        store.read,
        store.size,
        store.delete,
        lambda key: store.stream(key).__enter__(),
    ]
    for key in NO_KEYS:
        for use in uses:
            with pytest.raises(ValueError, match="not a key"):
                use(key)
    assert list(store.keys("")) == []


def test_tidying_leaves_objects_alone(store: ObjectStore, put: Put) -> None:
    key = fresh_key()
    put(key, b"kept")
    assert store.tidy(older_than=0) == 0
    assert store.read(key) == b"kept"
