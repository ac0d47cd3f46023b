"""Finished pictures are kept: made once for many, named by all that they depend on, shown without room too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from gateway import retrieve
from gateway.errors import NotRenderable
from gateway.render import Picture, View, Viewport, render, thumbnail
from gateway.render.kept import keep
from storage import Archive
from storage.derived import Derived
from storage.records import Located
from tests.gateway.stored import CALLER, put
from tests.parts.datasets import color, ct_slice, multi_frame


def located(archive: Archive, frames: int = 0) -> Located:
    stored = put(archive, multi_frame(frames=frames) if frames else ct_slice())
    (one,) = retrieve.find(archive, CALLER, stored.study_uid, stored.series_uid, stored.sop_uid)
    return one


def made() -> float:
    return REGISTRY.get_sample_value("gantry_renditions_made_total") or 0


def test_a_picture_is_made_once_for_all_who_ask_at_the_same_time(archive: Archive) -> None:
    one, before = located(archive), made()
    with ThreadPoolExecutor(8) as pool:
        pictures = set(pool.map(lambda _: render(archive, one, 1, View()), range(16)))
    assert len(pictures) == 1 and made() == before + 1
    assert pictures == {render(archive, one, 1, View())}


def test_each_view_frame_type_and_size_is_a_picture_of_its_own(archive: Archive) -> None:
    one = located(archive, frames=2)
    views = (
        View(),
        View((40, 400, "linear")),
        View((40, 400, "sigmoid")),
        View(viewport=Viewport(20, 20)),
        View(quality=50),
    )
    found = [
        render(archive, one, frame, view, kind)
        for frame in (1, 2)
        for view in views
        for kind in ("image/jpeg", "image/png")
    ]
    found += [thumbnail(archive, one, frame, size) for frame in (1, 2) for size in ((20, 20), (30, 30))]
    before = made()
    again = [
        render(archive, one, frame, view, kind)
        for frame in (1, 2)
        for view in views
        for kind in ("image/jpeg", "image/png")
    ]
    again += [thumbnail(archive, one, frame, size) for frame in (1, 2) for size in ((20, 20), (30, 30))]
    assert again == found and made() == before
    assert len({(picture.data, picture.window) for picture in found}) > 15


def test_a_colour_picture_has_no_window(archive: Archive) -> None:
    stored = put(archive, color())
    (one,) = retrieve.find(archive, CALLER, stored.study_uid, stored.series_uid, stored.sop_uid)
    assert [render(archive, one, 1, View()).window for _ in range(2)] == ["", ""]


def test_a_failure_is_not_kept(archive: Archive) -> None:
    one = located(archive)
    good = Picture(b"picture", "image/png", 3, 4, "40,400,linear; source=image")

    def fail() -> Picture:
        raise NotRenderable("the frame is blue")

    with pytest.raises(NotRenderable, match="blue"):
        keep(archive, one, "test", "image/png", fail)
    assert keep(archive, one, "test", "image/png", lambda: good) == good
    assert keep(archive, one, "test", "image/png", fail) == good


def test_no_room_to_keep_a_picture_is_no_reason_not_to_show_it(archive: Archive, tmp_path: Path) -> None:
    """F-10: the reserve of the disk is larger than the disk."""
    one = located(archive)
    full = Archive(
        archive.objects, archive.index, archive.spool, derived=Derived(tmp_path / "full", 1 << 30, reserve=1 << 60)
    )
    assert render(full, one, 1, View()) == render(archive, one, 1, View())
    full.behind.settle()
    assert not [path for path in (tmp_path / "full").rglob("*") if path.is_file()]
