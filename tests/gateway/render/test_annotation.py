"""What is burnt into pictures, and what is never: boxes for letters that the font does not have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.render import View, Viewport
from gateway.render.annotation import lossy_line, patient_lines, technique_lines
from gateway.render.lettering import lettered, missing
from tests.gateway.dicom.opened import opened
from tests.gateway.render.pictures import rendered
from tests.parts.datasets import color, ct_slice, enhanced_mr, multi_frame

CT = ct_slice("letters", rows=200, columns=300)


def lines_of(**values: Any) -> list[str]:
    return patient_lines(opened(ct_slice("letters", **values)).header)


def test_the_patient_as_people_read_it() -> None:
    """RP-01."""
    assert lines_of() == ["Test, letters", "ID-letters  1970-01-02  O"]
    assert lines_of(PatientName="Buc^Jérôme^Luc", PatientSex=None) == ["Buc, Jérôme Luc", "ID-letters  1970-01-02"]
    assert lines_of(PatientName=None, PatientID=None, PatientBirthDate=None, PatientSex=None) == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Müller^Jörg", "Müller, Jörg"),
        ("Иванов^Иван", "Иванов, Иван"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou  (+ letters not drawn)"),
        ("=山田^太郎", "[U+5C71][U+7530], [U+592A][U+90CE]"),
        ("Ωνάσης=Onassis", "Ωνάσης / Onassis"),
    ],
)
def test_letters_that_the_font_lacks_are_said_never_drawn_as_boxes(name: str, line: str) -> None:
    """RP-01: what the font covers is used, and what it does not is told."""
    assert lines_of(PatientName=name)[0] == line
    assert missing(lettered(line)) == ""


def test_the_font_covers_what_it_is_said_to() -> None:
    assert missing("ÀßŁőƒ Ωλ Жщ Աբ აბ שלום سلام µ°±²→") == ""
    assert missing("a山b김a山ひ") == "山김ひ"


def test_the_technique_of_a_frame() -> None:
    """RP-01: frame numbers, and values from functional groups."""
    ct = opened(CT).header
    lines = technique_lines(ct, 1, "40,400,linear; source=image")
    assert lines == ["CT  2026-03-04 10:11:12", "CHEST  120 kV  2.5 mm", "Series 1  Se 1  Im 1  C 40 W 400"]
    enhanced = opened(enhanced_mr(frames=3)).header
    assert technique_lines(enhanced, 2, "lut; source=frame")[1:] == ["2 mm", "Series 1  Se 1  Im 1  Fr 2/3"]


def test_loss_is_said_where_it_is_wanted() -> None:
    exact, marked = View(), View(mark_lossy=True)
    plain, lossy = (
        opened(CT).header,
        opened(ct_slice(LossyImageCompression="01", LossyImageCompressionRatio="12.345")).header,
    )
    assert lossy_line(lossy, exact, "image/jpeg") == ""
    assert lossy_line(plain, marked, "image/png") == ""
    assert lossy_line(plain, marked, "image/jpeg") == "Lossy compressed"
    assert lossy_line(lossy, marked, "image/png") == "Lossy compressed 12.3:1"


def changed(view: View, ds: Any = CT) -> NDArray[np.bool_]:
    """Where the view's text is."""
    plain = rendered(ds, View(viewport=view.viewport))
    found = rendered(ds, view)
    assert found.shape == plain.shape
    return np.asarray((found != plain) if found.ndim == 2 else (found != plain).any(axis=2))


def test_text_stays_in_its_corner_and_in_the_picture() -> None:
    """RP-07: over the finished picture, whatever its size; blocks do not cover each other."""
    both = ("patient", "technique")
    for ds in (CT, color("letters", rows=200, columns=300), multi_frame("letters", rows=200, columns=300)):
        assert changed(View(annotation=both), ds).any()
    mark = changed(View(mark="NOT FOR DIAGNOSIS"))
    assert mark[170:, 150:].any() and not mark[:170].any()
    for size in ((1000, 700), (300, 200), (90, 60), (12, 8)):
        viewport = Viewport(*size)
        blocks = [changed(View(viewport=viewport, annotation=(one,))) for one in both]
        every = changed(View(viewport=viewport, annotation=both, mark="NOT FOR DIAGNOSIS"))
        assert every.any() or size[0] < 20
        if size[0] >= 300:
            assert not (blocks[0] & blocks[1]).any()
            alone = every & ~blocks[0] & ~blocks[1]
            assert alone.sum() > 500
