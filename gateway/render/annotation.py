"""Text burnt into pictures: who is shown, how it was made, and what the picture is not good for (PS3.18 8.3.5.1.1).

It is drawn at last, over the finished picture, so that no region or scale takes it away (RP-07). Thumbnails have none.
"""

from __future__ import annotations

from PIL import Image, ImageDraw

from gateway.dicom.header import Header
from gateway.dicom.view import View as Values
from gateway.render.lettering import font, lettered, missing
from gateway.render.parameters import group
from gateway.render.view import View
from gateway.render.words import moment, person_name

_NAME, _ID, _BIRTH, _SEX = 0x00100010, 0x00100020, 0x00100030, 0x00100040
_LOSSY, _RATIO = 0x00282110, 0x00282112
_LOSSY_TYPES = frozenset({"image/jpeg", "image/webp", "image/jxl"})
_SMALLEST, _USUAL = 7, 12

_TECHNIQUE: tuple[tuple[int, str], ...] = (
    (0x00180015, "{}"),
    (0x00185101, "{}"),
    (0x00180020, "{}"),
    (0x00180060, "{} kV"),
    (0x00181151, "{} mA"),
    (0x00181152, "{} mAs"),
    (0x00180080, "TR {}"),
    (0x00180081, "TE {}"),
    (0x00180050, "{} mm"),
)
"""Body Part, View Position, Scanning Sequence, KVP, X-Ray Tube Current, Exposure, TR, TE, Slice Thickness."""
_TIMING, _ECHO, _MEASURES = 0x00189112, 0x00189114, 0x00289110
_IN_GROUPS = {0x00180080: _TIMING, 0x00189082: _ECHO, 0x00180050: _MEASURES}


def annotate(image: Image.Image, header: Header, frame: int, view: View, window: str, media_type: str) -> None:
    """Draw what the view asks for onto a finished picture."""
    top = patient_lines(header) if "patient" in view.annotation else []
    bottom = technique_lines(header, frame, window) if "technique" in view.annotation else []
    mark = [line for line in (view.mark, lossy_line(header, view, media_type)) if line]
    if not (top or bottom or mark):
        return
    page = _Page(image)
    page.block(top, "la")
    page.block(bottom, "ld")
    # Beside what stands at the bottom where there is room, else at the top, below the patient if need be.
    if page.width(bottom) + page.width(mark) < page.room:
        page.block(mark, "rd")
    else:
        beside = page.width(top) + page.width(mark) < page.room
        page.block(mark, "ra", 0 if beside else len(top))


def patient_lines(header: Values) -> list[str]:
    """Name, identifier, birth date and sex."""
    name = _drawable(header.text(_NAME) or "")
    facts = [header.text(_ID), moment(header.text(_BIRTH)), header.text(_SEX)]
    rest = "  ".join(fact for fact in facts if fact)
    return [line for line in (name, rest) if line]


def technique_lines(header: Header, frame: int, window: str) -> list[str]:
    """Modality, time and place of the examination; how the frame was made; which one it is, and its window."""
    when = " ".join(part for part in (moment(header.text(0x00080020)), moment(header.text(0x00080030))) if part)
    first = [header.text(0x00080060), when, header.text(0x00080080)]
    second = [form.format(text) for tag, form in _TECHNIQUE if (text := _technical(header, frame, tag))]
    numbers = [header.text(0x00200011), header.text(0x00200013)]
    third = [header.text(0x0008103E) or "", f"Se {numbers[0]}" if numbers[0] else ""]
    third.append(f"Im {numbers[1]}" if numbers[1] else "")
    if header.number_of_frames > 1:
        third.append(f"Fr {frame}/{header.number_of_frames}")
    center, _, rest = window.partition(";")[0].partition(",")
    if rest:
        third.append(f"C {center} W {rest.partition(',')[0]}")
    lines = ["  ".join(part for part in parts if part) for parts in (first, second, third)]
    return [line for line in lines if line]


def lossy_line(header: Header, view: View, media_type: str) -> str:
    """That the picture or what it was made of is compressed with loss, where the view wants it said."""
    if not view.mark_lossy:
        return ""
    if header.text(_LOSSY) == "01":
        ratio = header.floats(_RATIO)
        return f"Lossy compressed {ratio[-1]:.3g}:1" if ratio else "Lossy compressed"
    exact = media_type == "image/jxl" and view.quality == 100
    return "Lossy compressed" if media_type in _LOSSY_TYPES and not exact else ""


def _technical(header: Header, frame: int, tag: int) -> str:
    macro = group(header, frame, _IN_GROUPS[tag]) if tag in _IN_GROUPS else None
    for place in (macro, header):
        if place is None:
            continue
        numbers = place.floats(tag)
        if numbers:
            return "/".join(f"{number:g}" for number in numbers[:4])
        text = place.text(tag)
        if text:
            return text.replace("\\", "/")
    return ""


def _drawable(name: str) -> str:
    """The representations of a name (PS3.5 6.2.1.1) that the font covers; where it covers none, the first as it can be
    drawn, and in any case a word when something is left out.
    """
    groups = [group for group in (person_name(one) for one in name.split("=")) if group]
    whole = [group for group in groups if not missing(group)]
    if not whole:
        return lettered(groups[0]) if groups else ""
    left_out = "" if len(whole) == len(groups) else "  (+ letters not drawn)"
    return " / ".join(whole) + left_out


class _Page:
    """Places blocks of lines in the corners of an image."""

    def __init__(self, image: Image.Image) -> None:
        self._draw = ImageDraw.Draw(image)
        self._size = image.size
        self._usual = max(_USUAL, min(image.size) // 36)
        self.room = image.width - 2 * (self._usual // 2)

    def width(self, lines: list[str]) -> float:
        """Of the widest line at the usual size, and a gap."""
        return (
            max((self._draw.textlength(lettered(line), font(self._usual)) for line in lines), default=0) + self._usual
        )

    def block(self, lines: list[str], corner: str, below: int = 0) -> None:
        """Lines in a corner: l or r, then a (top) or d (bottom), `below` lines down.

        Smaller where the picture is narrow, cut where it must be.
        """
        if not lines:
            return
        widest = self.width(lines) - self._usual
        size = self._usual if widest <= self.room else max(_SMALLEST, int(self._usual * self.room / widest))
        face = font(size)
        margin, step = self._usual // 2, round(size * 1.3)
        x = margin if corner[0] == "l" else self._size[0] - margin
        y = margin + below * step if corner[1] == "a" else self._size[1] - margin - step * len(lines)
        for line in lines:
            text = self._cut(lettered(line), size)
            self._draw.text((x, y), text, "white", face, anchor=corner[0] + "a", stroke_width=1, stroke_fill="black")
            y += step

    def _cut(self, line: str, size: int) -> str:
        face = font(size)
        if self._draw.textlength(line, face) <= self.room:
            return line
        while line and self._draw.textlength(line + "…", face) > self.room:
            line = line[:-1]
        return line + "…"
