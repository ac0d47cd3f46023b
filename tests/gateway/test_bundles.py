"""Metadata bundles: the same bytes from the first request on, extended by what is new, following what is stored."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from pydicom.dataset import Dataset

from gateway import bundles
from gateway.warming import Warmer
from storage.objects import ObjectStore
from tests.end_to_end.test_numbers import Counting
from tests.gateway.dicomweb.service import Service, serve
from tests.parts.datasets import ct_slice, series_of

SLICES = 150


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serve(tmp_path) as service:
        yield service


def counting(service: Service) -> Counting:
    """From now on, what is read of the stored objects."""
    found = Counting(service.archive.objects)
    service.archive.objects = cast(ObjectStore, found)
    return found


def path_of(ds: Dataset) -> str:
    return f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"


def numbers(answer: Any) -> list[int]:
    return [one["00200013"]["Value"][0] for one in answer]


def test_metadata_are_the_same_bytes_whether_made_for_the_request_or_kept(service: Service) -> None:
    """WADO-02: the first request makes the groups while it is answered, the second the whole, the third reads it."""
    slices = series_of(SLICES)
    service.store(*slices)
    url = f"{path_of(slices[0])}/metadata"
    first, second, third = (service.get(url, Accept_Encoding="identity") for _ in range(3))
    assert first.content == second.content == third.content
    assert first.headers["etag"] == third.headers["etag"]
    assert "content-length" in third.headers
    assert numbers(third.json()) == list(range(1, SLICES + 1))
    assert all(service.url in one["7FE00010"]["BulkDataURI"] for one in third.json())
    packed = [service.client.stream("GET", url, headers={"Accept-Encoding": "gzip"}) for _ in range(3)]
    bodies = []
    for one in packed:
        with one as answer:
            bodies.append(b"".join(answer.iter_raw()))
    assert bodies[0] == bodies[1] == bodies[2]
    assert gzip.decompress(bodies[0]) == third.content


def test_once_made_nothing_is_read_of_the_objects(service: Service) -> None:
    slices = series_of(SLICES)
    service.store(*slices)
    service.get(f"{path_of(slices[0])}/metadata")
    reads = counting(service).reads
    for _ in range(2):
        assert service.get(f"{path_of(slices[0])}/metadata").status_code == 200
    assert service.get(f"/studies/{slices[0].StudyInstanceUID}/metadata").status_code == 200
    assert reads == []


def test_a_series_that_grows_is_extended_and_one_that_shrinks_is_followed(service: Service) -> None:
    slices = series_of(SLICES, "grows")  # several groups: their ends depend on the digests
    late = slices.pop(70)
    service.store(*slices)
    url = f"{path_of(late)}/metadata"
    service.get(url)
    before = service.get(url)
    reads = counting(service).reads
    service.store(late)
    after = service.get(url)
    assert numbers(after.json()) == list(range(1, SLICES + 1))
    assert after.headers["etag"] != before.headers["etag"]
    assert len(reads) < SLICES  # the groups around it stay as they are
    reads.clear()
    service.client.delete(f"{path_of(late)}/instances/{late.SOPInstanceUID}")
    assert service.get(url).content == before.content
    assert reads == []


def test_bulk_data_lie_below_the_root_that_each_client_uses(service: Service) -> None:
    slices = series_of(3)
    service.store(*slices)
    for host in ("one.example", "two.example:81", "one.example"):
        found = service.get(f"{path_of(slices[0])}/metadata", Host=host).json()
        assert found[1]["7FE00010"]["BulkDataURI"].startswith(f"http://{host}/dicomweb/studies/")


def test_a_damaged_instance_fails_the_request_and_is_not_kept(service: Service) -> None:
    """F-16, F-17."""
    slices = series_of(3)
    service.store(*slices)
    (located, *_) = service.archive.locate(slices[0].StudyInstanceUID)
    file = service.folder / "objects" / located.key
    data = file.read_bytes()
    file.unlink()
    url = f"{path_of(slices[0])}/metadata"
    assert service.get(url).status_code == 500
    file.write_bytes(data)
    assert numbers(service.get(url).json()) == [1, 2, 3]


def test_groups_follow_from_their_instances_alone(service: Service) -> None:
    service.store(*series_of(SLICES))
    found = service.archive.locate(ct_slice().StudyInstanceUID)
    groups = bundles.grouped(found)
    assert [one for group in groups for one in group] == found
    assert bundles.grouped(found[len(groups[0]) :]) == groups[1:]
    assert bundles.grouped([]) == []


def test_a_quiet_series_is_prepared_before_anyone_asks(service: Service) -> None:
    warmer = Warmer(service.archive, quiet=0.1, poll=0.02)
    warmer.start()
    try:
        slices = series_of(SLICES)
        service.store(ct_slice("before"), *slices)
        service.store(ct_slice("other"))
        end = time.monotonic() + 30
        groups = bundles.grouped(service.archive.locate(slices[0].StudyInstanceUID))
        while any(service.archive.derived.find(bundles.key(group)) is None for group in groups):
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        warmer.stop()
    reads = counting(service).reads
    assert len(json.loads(service.get(f"{path_of(slices[0])}/metadata").content)) == SLICES
    assert reads == []
