"""Thumbnails made before anyone asks: once a series is quiet, for the default size and the page's."""

from __future__ import annotations

from prometheus_client import REGISTRY

from gateway import render, retrieve
from gateway.delete import delete
from gateway.render.representative import representative
from gateway.settings import Settings
from gateway.thumbnails import SIZES, Thumbnails
from storage import Archive
from tests.gateway.stored import CALLER, put
from tests.parts.datasets import ct_slice, report, series_of

SETTINGS = Settings()


def made() -> float:
    return REGISTRY.get_sample_value("gantry_renditions_made_total") or 0


def test_a_quiet_series_and_its_study_get_their_thumbnails(archive: Archive) -> None:
    thumbnails = Thumbnails(archive, SETTINGS, quiet=60)
    first = put(archive, series_of(3, "quiet")[0])
    assert thumbnails.advance(1000.0) == 0
    for ds in series_of(3, "quiet")[1:]:
        put(archive, ds)
    assert thumbnails.advance(1050.0) == 0, "it changed ten seconds ago"
    assert thumbnails.advance(1100.0) == 0
    assert thumbnails.advance(1110.0) == 2 * len(SIZES)
    before = made()
    for series_uid in (first.series_uid, None):
        located, frame = representative(retrieve.find(archive, CALLER, first.study_uid, series_uid))
        for size in SIZES:
            render.thumbnail(archive, located, frame, size)
    assert made() == before, "they were there"
    assert thumbnails.advance(2000.0) == 0, "and are not made again"


def test_what_has_no_picture_or_is_gone_is_passed_over(archive: Archive) -> None:
    thumbnails = Thumbnails(archive, SETTINGS, quiet=60)
    put(archive, report("words"))
    gone = put(archive, ct_slice("gone"))
    assert thumbnails.advance(1000.0) == 0
    delete(archive, CALLER, gone.study_uid)
    there = put(archive, ct_slice("there"))
    assert thumbnails.advance(1001.0) == 0
    assert thumbnails.advance(2000.0) == 2 * len(SIZES)
    assert archive.locate(there.study_uid)


def test_what_was_stored_before_the_start_waits_until_it_is_asked_for(archive: Archive) -> None:
    put(archive, ct_slice("old"))
    thumbnails = Thumbnails(archive, SETTINGS, quiet=60)
    thumbnails.advance(1000.0)
    assert thumbnails.advance(2000.0) == 0
