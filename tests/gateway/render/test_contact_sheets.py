"""Contact sheets: every picture of pydicom and pydicom-data on a page, in ./artifacts, for people to look at."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

from gateway.render import View, Viewport, draw, draw_thumbnail
from tests.gateway.dicom.opened import Opened
from tests.gateway.render.agreement import with_frames
from tests.parts.files import SampleFile

FOLDER = Path(__file__).parents[3] / "artifacts" / "contact-sheets"
ACROSS, DOWN = 9, 7
CELL, CAPTION = 150, 26
GROUND = (40, 60, 90)
"""Neither black nor white: the edges of pictures and what is transparent shows."""


def cell(file: SampleFile, *, thumbnail: bool) -> Image.Image:
    """One picture with its name, transfer syntax, photometric interpretation and window below."""
    one = Opened(file.path.read_bytes())
    if thumbnail:
        picture = draw_thumbnail(one.header, one.frame(), 1, (CELL, CELL), "image/png")
    else:
        picture = draw(one.header, one.frame(), 1, View(viewport=Viewport(CELL, CELL)), "image/png")
    with Image.open(BytesIO(picture.data)) as opened:
        shown = opened.convert("RGBA")
    found = Image.new("RGB", (CELL, CELL + CAPTION), GROUND)
    found.paste(shown, ((CELL - shown.width) // 2, (CELL - shown.height) // 2), shown)
    pen = ImageDraw.Draw(found)
    photometric = one.header.text(0x00280004) or ""
    end = file.transfer_syntax_uid.removeprefix("1.2.840.10008.1.2")
    pen.text((2, CELL), file.name[-24:], (255, 255, 255))
    pen.text((2, CELL + 12), f"{end} {photometric[:11]} {picture.window.partition(';')[0]}"[:25], (200, 210, 230))
    return found


def test_contact_sheets_are_made() -> None:
    """Two of each page: pictures, and the thumbnails of the same files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    files = sorted(with_frames(), key=lambda file: file.name.lower())
    page = ACROSS * DOWN
    for first in range(0, len(files), page):
        for thumbnail in (False, True):
            sheet = Image.new("RGB", (ACROSS * (CELL + 4), DOWN * (CELL + CAPTION + 4)), (0, 0, 0))
            for place, file in enumerate(files[first : first + page]):
                down, across = divmod(place, ACROSS)
                sheet.paste(cell(file, thumbnail=thumbnail), (across * (CELL + 4), down * (CELL + CAPTION + 4)))
            kind = "thumbnails" if thumbnail else "pictures"
            sheet.save(FOLDER / f"{kind}-{first // page + 1}.png")
    assert len(list(FOLDER.glob("pictures-*.png"))) == -(-len(files) // page)
