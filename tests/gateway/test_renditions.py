"""Renditions: one making for many requests, errors for all who wait, stable names."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import BinaryIO

import pytest
from prometheus_client import REGISTRY
from pydicom import dcmread

from gateway import renditions, retrieve
from gateway.blob import Blob
from gateway.errors import Damaged, NotAcceptable, Unavailable
from storage.archive import Archive
from storage.errors import ObjectMissing, ObjectStoreUnavailable
from storage.records import Located
from tests.gateway.stored import CALLER, put
from tests.parts.datasets import ct_slice, multi_frame

HTJ2K = "1.2.840.10008.1.2.4.201"
JPEG_LS = "1.2.840.10008.1.2.4.80"
BASELINE = "1.2.840.10008.1.2.4.50"


def located(archive: Archive, frames: int = 0) -> Located:
    stored = put(archive, multi_frame(frames=frames) if frames else ct_slice())
    (one,) = retrieve.find(archive, CALLER, stored.study_uid, stored.series_uid, stored.sop_uid)
    return one


def made() -> float:
    return REGISTRY.get_sample_value("gantry_renditions_made_total") or 0


def writes(data: bytes) -> renditions.Make:
    def make(out: BinaryIO) -> None:
        out.write(data)

    return make


def test_a_rendition_is_bytes_of_known_length_with_a_name_of_its_own(archive: Archive) -> None:
    blob = renditions.get(archive, "digest thumbnail 64x64", writes(b"0123456789"))
    assert blob.length == 10 and renditions.read(blob) == b"0123456789"
    with blob.open(3, 4) as chunks:
        assert b"".join(chunks) == b"3456"
    again = renditions.get(archive, "digest thumbnail 64x64", writes(b"never"))
    other = renditions.get(archive, "digest thumbnail 65x65", writes(b"other"))
    assert again.etag == blob.etag != other.etag
    assert renditions.read(again) == b"0123456789"


def test_many_requests_for_one_transcoding_do_it_once(archive: Archive) -> None:
    one = located(archive, frames=60)
    before = made()
    with ThreadPoolExecutor(16) as pool:
        blobs = list(pool.map(lambda _: retrieve.part10(archive, one, HTJ2K), range(32)))
    assert made() == before + 1
    assert len({(blob.etag, renditions.read(blob)) for blob in blobs}) == 1


def test_many_requests_for_one_frame_encode_it_once(archive: Archive) -> None:
    one = located(archive, frames=3)
    before = made()
    with ThreadPoolExecutor(16) as pool:
        frames = list(pool.map(lambda _: next(retrieve.frames(archive, one, [2], JPEG_LS)), range(32)))
    assert made() == before + 1
    assert len({frame.data for frame in frames}) == 1
    list(retrieve.frames(archive, one, [1, 2, 3], JPEG_LS))
    assert made() == before + 3


def test_a_client_that_leaves_does_not_stop_the_work_of_others(archive: Archive) -> None:
    """The first reader goes away after one chunk, and its blob with it."""
    one = located(archive, frames=20)
    with retrieve.part10(archive, one, HTJ2K).open(0, None) as chunks:
        next(chunks)
    data = renditions.read(retrieve.part10(archive, one, HTJ2K))
    assert dcmread(BytesIO(data)).file_meta.TransferSyntaxUID == HTJ2K


@pytest.mark.parametrize("kind", [NotAcceptable, Damaged])
def test_an_error_reaches_everyone_as_what_it_is(archive: Archive, kind: type[Exception]) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def fail(out: BinaryIO) -> None:
        begun.set()
        assert go_on.wait(10)
        raise kind("no")

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(renditions.get, archive, "key", fail)]
        assert begun.wait(10)
        asked += [pool.submit(renditions.get, archive, "key", fail) for _ in range(3)]
        threading.Timer(0.1, go_on.set).start()
        for one in asked:
            with pytest.raises(kind):
                one.result(10)
    assert renditions.read(renditions.get(archive, "key", writes(b"well"))) == b"well"


@pytest.mark.parametrize(("error", "kind"), [(ObjectMissing("x"), Damaged), (ObjectStoreUnavailable("x"), Unavailable)])
def test_storage_errors_mean_what_they_mean_to_any_reader(
    archive: Archive, error: Exception, kind: type[Exception]
) -> None:
    """F-17"""

    def fail(out: BinaryIO) -> None:
        raise error

    with pytest.raises(kind):
        renditions.get(archive, "key", fail)


def test_a_syntax_that_cannot_be_made_leaves_nothing_behind(archive: Archive) -> None:
    one = located(archive)
    with pytest.raises(NotAcceptable) as refused:
        retrieve.part10(archive, one, BASELINE)
    assert HTJ2K in refused.value.offered
    assert not [path for path in archive.derived.folder.rglob("*") if path.is_file()]
    assert not list(archive.spool.folder.iterdir())


def test_renditions_lie_beside_the_spool_and_can_be_removed_at_any_time(archive: Archive) -> None:
    one = located(archive)
    first = renditions.read(retrieve.part10(archive, one, HTJ2K))
    assert archive.derived.folder.parent == archive.spool.folder.parent
    assert archive.derived.tidy(older_than=-1) == 1
    blob: Blob = retrieve.part10(archive, one, HTJ2K)
    assert renditions.read(blob) == first, "the same bytes, so the entity tag is strong"
