"""Objects in S3: connections that break, servers that stop, refuse, are full, busy, or know less than others.

On real servers, with a proxy in between where harm is done to what passes; on a fake one for what they never answer.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from storage.errors import (
    ObjectDamaged,
    ObjectExists,
    ObjectMissing,
    ObjectStoreError,
    ObjectStoreFull,
    ObjectStoreUnavailable,
)
from storage.objects import ObjectStore
from storage.objects.s3 import S3Store
from tests.parts import seaweedfs as seaweedfs_part
from tests.parts.machine import free_port
from tests.parts.s3 import S3Server
from tests.storage.objects.fake_s3 import BUCKET, FakeS3
from tests.storage.objects.proxy import Proxy

KEY = "obj/ab/0123456789abcdef0123456789abcdef/1.dcm"
MIB = 1 << 20


@pytest.fixture(params=["seaweedfs", "rgw"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Each real server, with the credentials for it in the environment."""
    found: S3Server = request.getfixturevalue(request.param)
    use_credentials(found, monkeypatch)
    return found


@pytest.fixture
def proxy(server: S3Server) -> Iterator[Proxy]:
    """A proxy in front of the server."""
    with Proxy(server.endpoint) as opened:
        yield opened


@pytest.fixture
def bucket(server: S3Server) -> str:
    """An empty bucket."""
    return server.bucket()


@pytest.fixture
def patient(proxy: Proxy, bucket: str) -> Iterator[S3Store]:
    """As `harmed`, with the time that a large file takes."""
    with closing(S3Store(bucket, "gantry", endpoint=proxy.endpoint)) as opened:
        opened.check()
        yield opened


@pytest.fixture
def harmed(proxy: Proxy, bucket: str) -> Iterator[S3Store]:
    """A store on the bucket, through the proxy; it has written before."""
    with closing(quick(bucket, proxy.endpoint)) as opened:
        opened.check()
        yield opened


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeS3]:
    """A fake server."""
    use_credentials(S3Server("fake", "", 0), monkeypatch)
    with FakeS3() as opened:
        yield opened


def use_credentials(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the server's credentials where AWS's chain finds them."""
    for name, value in server.environ().items():
        monkeypatch.setenv(name, value)


def at_ease(bucket: str, endpoint: str) -> S3Store:
    """A store with the usual time-outs: for a server that answers, be the machine as busy as it may."""
    return S3Store(bucket, "gantry", endpoint=endpoint)


def quick(bucket: str, endpoint: str) -> S3Store:
    """A store with short time-outs."""
    return S3Store(bucket, "gantry", endpoint=endpoint, connect_timeout=0.5, read_timeout=1.0)


def put(store: ObjectStore, folder: Path, key: str = KEY, data: bytes = b"bytes") -> None:
    """Put `data` by way of a file."""
    source = folder / f"{hashlib.sha256(key.encode()).hexdigest()}.part"
    source.write_bytes(data)
    store.put(key, source, sha256=hashlib.sha256(data).hexdigest())


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail when the block takes longer."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


# On the way


def drop_first_answer(lost: list[bytes]) -> Callable[[bytes], bytes | None]:
    """Cuts the connection instead of passing the first final answer, which is put on the list."""

    def drop(data: bytes) -> bytes | None:
        if lost or data.upper().endswith(b" 100 CONTINUE\r\n\r\n"):
            return data
        lost.append(data)
        return None

    return drop


def test_a_put_whose_answer_was_lost_is_a_success(harmed: S3Store, proxy: Proxy, tmp_path: Path) -> None:
    """F-24: the library tries again, and the server says that the key is taken: by ourselves."""
    lost: list[bytes] = []
    data = os.urandom(100_000)
    proxy.download = drop_first_answer(lost)
    put(harmed, tmp_path, data=data)
    assert lost[0].startswith(b"HTTP/1.1 200")
    assert harmed.read(KEY) == data
    assert [info.key for info in harmed.keys("")] == [KEY]


def test_anothers_object_is_not_taken_for_ones_own_after_a_lost_answer(
    harmed: S3Store, proxy: Proxy, tmp_path: Path
) -> None:
    """F-24: even when its bytes are the same."""
    put(harmed, tmp_path)
    lost: list[bytes] = []
    proxy.download = drop_first_answer(lost)
    with pytest.raises(ObjectExists):
        put(harmed, tmp_path)
    assert lost[0].startswith(b"HTTP/1.1 412")


def test_a_byte_changed_on_the_way_up_is_noticed_and_sent_again(
    harmed: S3Store, proxy: Proxy, server: S3Server, bucket: str, tmp_path: Path
) -> None:
    """F-26."""
    data = os.urandom(300_000)
    harm: list[bytes] = []

    def flip_once(sent: bytes) -> bytes:
        if harm or data[1000:1016] not in sent:
            return sent
        harm.append(sent)
        return sent.replace(data[1000:1016], bytes(16))

    proxy.upload = flip_once
    put(harmed, tmp_path, data=data)
    assert harm
    with closing(at_ease(bucket, server.endpoint)) as direct:
        assert direct.read(KEY) == data


def test_bytes_that_never_arrive_whole_are_not_stored(
    harmed: S3Store, proxy: Proxy, server: S3Server, bucket: str, tmp_path: Path
) -> None:
    """F-26."""
    data = os.urandom(30_000)
    proxy.upload = lambda sent: sent.replace(data[1000:1016], bytes(16))
    with pytest.raises(ObjectStoreUnavailable, match="on the way"):
        put(harmed, tmp_path, data=data)
    with closing(at_ease(bucket, server.endpoint)) as direct, pytest.raises(ObjectMissing):
        direct.size(KEY)


def test_a_file_that_is_not_the_one_digested_is_refused(
    seaweedfs: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_credentials(seaweedfs, monkeypatch)
    with closing(quick(seaweedfs.bucket(), seaweedfs.endpoint)) as store:
        source = tmp_path / "1.part"
        source.write_bytes(b"bytes")
        with pytest.raises(ObjectDamaged):
            store.put(KEY, source, sha256=hashlib.sha256(b"other").hexdigest())
        assert list(store.keys("")) == []


def cut_after(size: int, times: int) -> Callable[[bytes], bytes | None]:
    """Cuts the connection once `size` bytes passed, that many times."""
    passed, cuts = 0, 0

    def cut(data: bytes) -> bytes | None:
        nonlocal passed, cuts
        passed += len(data)
        if cuts < times and passed > size:
            passed, cuts = 0, cuts + 1
            return None
        return data

    return cut


def test_a_download_cut_in_the_middle_is_taken_up_again(harmed: S3Store, proxy: Proxy, tmp_path: Path) -> None:
    """F-27."""
    data = os.urandom(4 * MIB)
    put(harmed, tmp_path, data=data)
    for times in (1, 2):
        proxy.download = cut_after(2 * MIB, times)
        assert harmed.read(KEY) == data
        proxy.download = cut_after(MIB, times)
        with harmed.stream(KEY, 1000, 3 * MIB) as chunks:
            assert b"".join(chunks) == data[1000 : 1000 + 3 * MIB]


def test_a_download_cut_again_and_again_is_an_error_never_fewer_bytes(
    harmed: S3Store, proxy: Proxy, tmp_path: Path
) -> None:
    """F-27."""
    data = os.urandom(4 * MIB)
    put(harmed, tmp_path, data=data)
    proxy.download = cut_after(MIB // 2, 100)
    with pytest.raises(ObjectStoreUnavailable):
        harmed.read(KEY)


def test_a_download_goes_on_only_in_the_same_object(
    harmed: S3Store, proxy: Proxy, server: S3Server, bucket: str, tmp_path: Path
) -> None:
    """F-27: a derived object that was replaced meanwhile."""
    harmed.put_bytes(KEY, os.urandom(4 * MIB))
    with closing(at_ease(bucket, server.endpoint)) as direct:
        proxy.download = cut_after(2 * MIB, 1)
        with pytest.raises(ObjectDamaged), harmed.stream(KEY) as chunks:
            next(chunks)
            direct.put_bytes(KEY, os.urandom(4 * MIB))
            list(chunks)


# Servers that are not there


def test_a_server_that_stopped_costs_no_more_than_the_budget_and_is_back_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F-21."""
    (tmp_path / "weed").mkdir()
    with seaweedfs_part.run(tmp_path / "weed") as own:
        use_credentials(own, monkeypatch)
        with closing(quick(own.bucket(), own.endpoint)) as store:
            put(store, tmp_path)
            os.kill(own.pid, signal.SIGSTOP)
            try:
                with at_most(5.0), pytest.raises(ObjectStoreUnavailable):
                    put(store, tmp_path, KEY.replace("1.dcm", "2.dcm"))
                with ThreadPoolExecutor(8) as threads, at_most(5.0):
                    failed = threads.map(lambda _: _fails(store), range(8))
                    assert all(isinstance(error, ObjectStoreUnavailable) for error in failed)
                with at_most(1.0), pytest.raises(ObjectStoreUnavailable):  # nobody waits any more
                    store.read(KEY)
                with at_most(1.0), pytest.raises(ObjectStoreUnavailable):
                    store.check()
            finally:
                os.kill(own.pid, signal.SIGCONT)
            wait_for(store.check, 5.0)
            put(store, tmp_path, KEY.replace("1.dcm", "3.dcm"))
            assert store.read(KEY) == b"bytes"


def _fails(store: ObjectStore) -> ObjectStoreError | None:
    try:
        store.read(KEY)
    except ObjectStoreError as error:
        return error
    return None


def wait_for(check: Callable[[], None], seconds: float) -> None:
    """Return once `check` does; fail after that time."""
    end = time.monotonic() + seconds
    while True:
        try:
            check()
        except ObjectStoreError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def test_a_server_that_refuses_connections_fails_at_once_and_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F-22."""
    use_credentials(S3Server("fake", "", 0), monkeypatch)
    port = free_port()
    with closing(quick(BUCKET, f"http://127.0.0.1:{port}")) as store:
        for _ in range(5):
            with at_most(1.0), pytest.raises(ObjectStoreUnavailable):
                put(store, tmp_path)
        with FakeS3(port):
            wait_for(store.check, 5.0)
            put(store, tmp_path)
        with at_most(1.0), pytest.raises(ObjectStoreUnavailable):
            store.size(KEY)


def test_a_name_that_is_not_known_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """F-22."""
    use_credentials(S3Server("fake", "", 0), monkeypatch)
    with closing(quick(BUCKET, "http://s3.invalid:9")) as store, pytest.raises(ObjectStoreUnavailable):
        store.check()


def test_a_server_that_is_no_s3_is_unavailable(fake: FakeS3) -> None:
    with closing(quick("other", fake.endpoint)) as store, pytest.raises(ObjectStoreUnavailable):
        store.check()


# Refusals


def test_a_wrong_secret_is_told_as_such_and_the_right_one_needs_no_restart(
    server: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F-30."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with closing(at_ease(bucket, server.endpoint)) as store:
        for use in (store.check, lambda: put(store, tmp_path), lambda: store.read(KEY), lambda: store.size(KEY)):
            with pytest.raises(ObjectStoreUnavailable, match="credentials were refused"):
                use()
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
        wait_for(store.check, 5.0)
        put(store, tmp_path)
        assert store.read(KEY) == b"bytes"


def test_without_credentials_the_store_is_unavailable(
    fake: FakeS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with closing(quick(BUCKET, fake.endpoint)) as store, pytest.raises(ObjectStoreUnavailable, match="credentials"):
        put(store, tmp_path)


def test_a_bucket_that_is_not_there_is_not_made(server: S3Server, tmp_path: Path) -> None:
    """F-14: SeaweedFS would make it at the first PUT."""
    name = "t-of-nobody"
    with closing(at_ease(name, server.endpoint)) as store:
        for use in (store.check, lambda: put(store, tmp_path), lambda: store.put_bytes(KEY, b"x")):
            with pytest.raises(ObjectStoreUnavailable, match="no bucket"):
                use()
    with server.client() as client:
        assert name not in [one["Name"] for one in client.list_buckets()["Buckets"]]


@pytest.mark.parametrize(
    ("status", "code", "error", "text"),
    [
        (507, "InsufficientStorage", ObjectStoreFull, "InsufficientStorage"),
        (507, "XMinioStorageFull", ObjectStoreFull, "XMinioStorageFull"),
        (403, "QuotaExceeded", ObjectStoreFull, "QuotaExceeded"),
        (403, "RequestTimeTooSkewed", ObjectStoreUnavailable, "clock"),
        (403, "AccessDenied", ObjectStoreUnavailable, "credentials"),
        (503, "SlowDown", ObjectStoreUnavailable, "busy"),
        (500, "InternalError", ObjectStoreUnavailable, "InternalError"),
        (301, "PermanentRedirect", ObjectStoreUnavailable, "PermanentRedirect"),
        (409, "OperationAborted", ObjectStoreUnavailable, "OperationAborted"),
    ],
)
def test_each_refusal_of_a_put_has_its_error(
    fake: FakeS3, tmp_path: Path, status: int, code: str, error: type[ObjectStoreError], text: str
) -> None:
    """F-10, F-21, F-23, F-30, F-31."""
    with closing(quick(BUCKET, fake.endpoint)) as store:
        store.check()
        fake.refuses = lambda method, key: (status, code) if method == "PUT" else None
        with pytest.raises(error, match=text):
            put(store, tmp_path)
        with pytest.raises(error, match=text):  # a write failed: readiness is asked by a write
            store.check()
        fake.refuses = lambda method, key: None
        store.check()
        put(store, tmp_path)


def test_a_storm_of_slow_down_is_outlived_without_a_storm_of_retries(fake: FakeS3, tmp_path: Path) -> None:
    """F-23: every fifth request is refused."""
    with closing(S3Store(BUCKET, "gantry", endpoint=fake.endpoint)) as store:
        store.check()
        fake.requests.clear()
        fake.refuses = lambda method, key: (503, "SlowDown") if len(fake.requests) % 5 == 0 else None
        for number in range(12):
            put(store, tmp_path, f"obj/ab/00/{number}.dcm")
        assert 12 < fake.count("PUT") < 18
        assert len(list(store.keys("obj/"))) == 12


def test_a_conflict_is_tried_again(fake: FakeS3, tmp_path: Path) -> None:
    """F-25."""
    with closing(quick(BUCKET, fake.endpoint)) as store:
        store.check()
        fake.requests.clear()
        fake.refuses = lambda method, key: (409, "ConditionalRequestConflict") if fake.count("PUT") < 3 else None
        put(store, tmp_path)
        assert store.read(KEY) == b"bytes"


def test_a_server_that_knows_no_conditions_still_overwrites_nothing(tmp_path: Path, fake: FakeS3) -> None:
    """F-32."""
    fake.conditional = False
    with closing(quick(BUCKET, fake.endpoint)) as store:
        put(store, tmp_path)
        with pytest.raises(ObjectExists):
            put(store, tmp_path, data=b"other")
        assert store.read(KEY) == b"bytes"


def test_a_server_that_refuses_conditions_is_asked_without(tmp_path: Path, fake: FakeS3) -> None:
    """F-32."""
    fake.refuses = lambda method, key: (501, "NotImplemented") if method == "PUT" and fake.count("PUT") == 2 else None
    with closing(quick(BUCKET, fake.endpoint)) as store:
        put(store, tmp_path)
        with pytest.raises(ObjectExists):
            put(store, tmp_path, data=b"other")


def test_a_server_that_knows_no_ranges_is_not_believed(tmp_path: Path, fake: FakeS3) -> None:
    """F-32: the first bytes of the object are not those asked for."""
    fake.ranges = False
    with closing(quick(BUCKET, fake.endpoint)) as store:
        put(store, tmp_path, data=bytes(range(100)))
        with pytest.raises(ObjectStoreUnavailable, match="ranges"):
            store.read(KEY, 10, 10)


# Lists, metadata, parts


def test_a_list_of_many_pages_is_whole_and_holds_objects_only(fake: FakeS3) -> None:
    """F-29."""
    fake.page = 7
    fake.objects = {f"gantry/obj/ab/{number:03}/1.dcm": bytes(number) for number in range(50)}
    fake.objects |= {"gantry/.probe": b"", "gantry/Other": b"", "gantry2/obj/ab/1.dcm": b"", "gantry": b""}
    keys = [f"obj/ab/{number:03}/1.dcm" for number in range(50)]
    with closing(quick(BUCKET, fake.endpoint)) as store:
        assert [info.key for info in store.keys("")] == keys
        assert [info.size for info in store.keys("obj/", after=keys[29])] == list(range(30, 50))


def test_a_real_list_goes_past_a_thousand(seaweedfs: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """F-29."""
    use_credentials(seaweedfs, monkeypatch)
    keys = [f"derived/{number:04}.json" for number in range(1003)]
    with closing(quick(seaweedfs.bucket(), seaweedfs.endpoint)) as store:
        store.check()
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda key: store.put_bytes(key, b""), keys))
        assert [info.key for info in store.keys("")] == keys
        assert [info.key for info in store.keys("derived/", after=keys[1000])] == keys[1001:]


def test_metadata_stand_beside_the_object(server: S3Server, bucket: str, tmp_path: Path) -> None:
    source = tmp_path / "1.part"
    source.write_bytes(b"bytes")
    digest = hashlib.sha256(b"bytes").hexdigest()
    with closing(S3Store(bucket, endpoint=server.endpoint)) as store:
        store.put(KEY, source, sha256=digest, metadata={"dataset-digest": "0" * 64})
    with server.client() as client:
        kept = client.head_object(Bucket=bucket, Key=KEY)
    assert kept["Metadata"]["dataset-digest"] == "0" * 64
    assert kept["Metadata"]["sha256"] == digest
    assert kept["ContentType"] == "application/dicom"


LARGE = 65 * MIB


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file that is sent in parts, and its digest."""
    path = tmp_path_factory.mktemp("large") / "large.part"
    with path.open("wb") as file:
        for number in range(65):
            file.write(bytes([number]) * MIB)
    with path.open("rb") as file:
        return path, hashlib.file_digest(file, "sha256").hexdigest()


def uploads(server: S3Server, bucket: str) -> int:
    """How many uploads in parts are not finished."""
    with server.client() as client:
        return len(client.list_multipart_uploads(Bucket=bucket).get("Uploads", []))


def test_a_large_file_goes_in_parts_and_is_never_overwritten(
    server: S3Server, bucket: str, large: tuple[Path, str]
) -> None:
    source, digest = large
    with closing(S3Store(bucket, "gantry", endpoint=server.endpoint)) as store:
        store.put(KEY, source, sha256=digest, metadata={"dataset-digest": "0" * 64})
        assert store.size(KEY) == LARGE
        for at in (0, 16 * MIB, 32 * MIB, 64 * MIB):
            assert store.read(KEY, max(0, at - 1), 2) == bytes([max(0, at - 1) // MIB, (max(0, at - 1) + 1) // MIB])
        with pytest.raises(ObjectExists):
            store.put(KEY, source, sha256=digest)
        with pytest.raises(ObjectDamaged):
            store.put(KEY.replace("1.dcm", "2.dcm"), source, sha256="0" * 64)
        assert [(info.key, info.size) for info in store.keys("")] == [(KEY, LARGE)]
    with server.client() as client:
        assert client.head_object(Bucket=bucket, Key=f"gantry/{KEY}")["Metadata"]["dataset-digest"] == "0" * 64
    assert uploads(server, bucket) == 0


def test_a_large_file_that_fails_half_way_leaves_no_parts(
    patient: S3Store, proxy: Proxy, server: S3Server, bucket: str, large: tuple[Path, str]
) -> None:
    """F-26, F-28: the third part never arrives whole."""
    source, digest = large
    proxy.upload = lambda sent: sent.replace(b"\x22" * 100, b"\x00" * 100)
    with pytest.raises(ObjectStoreError):
        patient.put(KEY, source, sha256=digest)
    assert uploads(server, bucket) == 0
    proxy.upload = lambda sent: sent
    patient.put(KEY, source, sha256=digest)
    assert patient.read(KEY, 34 * MIB, 5) == b"\x22" * 5


def test_a_large_file_whose_last_answer_was_lost_is_a_success(
    patient: S3Store, proxy: Proxy, large: tuple[Path, str]
) -> None:
    """F-24."""
    source, digest = large
    asked: list[bytes] = []
    lost: list[bytes] = []

    def watch(sent: bytes) -> bytes:
        if sent.startswith(b"POST ") and b"uploadId=" in sent[:400]:
            asked.append(sent)
        return sent

    def drop(data: bytes) -> bytes | None:
        if asked and not lost:
            lost.append(data)
            return None
        return data

    proxy.upload, proxy.download = watch, drop
    patient.put(KEY, source, sha256=digest)
    assert len(asked) >= 2
    assert patient.read(KEY, 64 * MIB - 1, 2) == b"\x3f\x40"


def test_an_upload_that_a_crash_left_is_aborted_when_it_is_old(server: S3Server, bucket: str) -> None:
    """F-28: ours only."""
    with server.client() as client, closing(at_ease(bucket, server.endpoint)) as store:
        for name in (f"gantry/{KEY}", f"other/{KEY}"):
            upload = client.create_multipart_upload(Bucket=bucket, Key=name)["UploadId"]
            client.upload_part(Bucket=bucket, Key=name, UploadId=upload, PartNumber=1, Body=b"x")
        assert store.tidy() == 0
        assert uploads(server, bucket) == 2
        assert store.tidy(older_than=-60) == 1
        assert uploads(server, bucket) == 1
