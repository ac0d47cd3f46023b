"""WADO-URI: one instance named by the query, as a file or as a picture (PS3.18 9)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from starlette.requests import Request

from gateway import retrieve
from gateway.dicom.uids import is_uid
from gateway.dicomweb import offers
from gateway.dicomweb.frame_parts import possible
from gateway.dicomweb.media_types import MediaRange, Offer, choose, not_acceptable, parse
from gateway.dicomweb.render_parameters import ANNOTATION_UNSUPPORTED, annotations_of, finite, quality_of
from gateway.dicomweb.rendered import Render
from gateway.dicomweb.renderings import PICTURE_TYPES, Unit, stated
from gateway.dicomweb.resources import Target, parameters, root, tries
from gateway.dicomweb.wado import Retrieve
from gateway.errors import BadRequest, NotFound, NotRenderable
from gateway.http.failures import Failure
from gateway.http.identity import caller_of
from gateway.http.ranges import Representation
from gateway.render import MAX_PIXELS, View, Viewport
from gateway.render.animation import ANIMATED
from gateway.render.kinds import Kind, kind_of
from gateway.settings import Settings
from storage.archive import Archive
from storage.records import Located

_UIDS = ("studyUID", "seriesUID", "objectUID")
_PRESENTATION = ("presentationSeriesUID", "presentationUID")
_PICTURE_ONLY = frozenset(
    {"windowCenter", "windowWidth", "rows", "columns", "region", "imageQuality", "imageAnnotation", "annotation"}
    | {"frameNumber", *_PRESENTATION}
)
MAX_SIDE = 100_000
"""Stands for a side of the picture that is not given."""
_NUMBER = re.compile(r"0*[1-9][0-9]{0,9}")
_FRACTION = re.compile(r"0*(0(\.[0-9]{0,12})?|1(\.0{0,12})?|\.[0-9]{1,12})")

Asked = Mapping[str, str]


class UriService:
    """Blocking method that Starlette runs in its worker threads."""

    def __init__(self, archive: Archive, settings: Settings) -> None:
        self.archive = archive
        self.settings = settings
        self.files = Retrieve(archive, settings)
        self.pictures = Render(archive, settings)

    def retrieve(self, request: Request) -> Representation:
        """`/wado?requestType=WADO&studyUID=…&seriesUID=…&objectUID=…` (URI-01 to URI-12)."""
        asked = _asked(request)
        where = Target(root(request, self.settings.public_url) + "/dicomweb", *(asked[name] for name in _UIDS))
        wanted = _content_types(asked)
        _check_together(asked)
        caller = caller_of(request.scope)
        (located,) = retrieve.find(self.archive, caller, *where.uids)
        own = self.pictures.whole_unit(located)
        offered = [Offer(name) for name in own.types] if own is not None else [*offers.rendered(several=False)]
        offered.append(Offer(offers.FILE))
        accepted = [wanted] if wanted else tries(request, ())
        offer = choose(accepted, offered)
        if offer is None:
            raise not_acceptable(offered, located.transfer_syntax_uid)
        if offer.media_type == offers.FILE:
            return self._file(request, located, where, asked)
        if "transferSyntax" in asked:
            raise BadRequest("transferSyntax", "transferSyntax goes with contentType=application/dicom only")
        if own is not None:
            headers = {"Content-Location": where.url}
            return self.pictures.whole(request, own, self._view(located, asked), offer.media_type, headers)
        return self._picture(request, located, where, asked, offer)

    def _file(self, request: Request, located: Located, where: Target, asked: Asked) -> Representation:
        """The instance as a file: in `transferSyntax`, else Explicit VR Little Endian as NEG-09 has it (URI-04)."""
        wrong = sorted(_PICTURE_ONLY & asked.keys())
        if wrong:
            raise BadRequest(wrong[0], f"{wrong[0]} does not go with application/dicom")
        stored, uid = located.transfer_syntax_uid, asked.get("transferSyntax")
        if uid is not None and not is_uid(uid):
            raise BadRequest("transferSyntax", "transferSyntax is no UID")
        accepted = [[MediaRange(offers.FILE, False, (uid,) if uid else ())]]
        more = possible(self.archive, located, accepted)
        offered = offers.files(offers.FILE, stored, explicit=True, single=True, possible=more)
        offer = choose(accepted, offered)
        if offer is None:
            raise not_acceptable([one for one in offered if not one.multipart], stored)
        return self.files.single(request, located, offer, accepted, where)

    def _picture(self, request: Request, located: Located, where: Target, asked: Asked, offer: Offer) -> Representation:
        if located.frames is None:
            raise not_acceptable([Offer(offers.FILE)], located.transfer_syntax_uid)
        if _PRESENTATION[0] in asked:
            return self._through_state(request, located, where, asked, offer)
        count = retrieve.frame_table(located).count
        number = _frame(asked, count)
        view = self._view(located, asked)
        headers = {"Content-Location": f"{where.url}/frames/{number}" if count > 1 else where.url}
        _, unsupported = self._marked(view, asked)
        if unsupported:
            headers["Warning"] = f"299 {where.root}: {ANNOTATION_UNSUPPORTED.format(','.join(unsupported))}"
        if count > 1 and "frameNumber" not in asked and offer.media_type in ANIMATED:
            headers["Content-Location"] = where.url
            return self.pictures.animation(request, located, view, offer.media_type, headers)
        return self.pictures.one(request, Unit(located, number, PICTURE_TYPES), offer, headers, where, view)

    def _view(self, located: Located, asked: Asked) -> View:
        window = None
        if "windowCenter" in asked:
            center, width = (finite(name, asked[name]) for name in ("windowCenter", "windowWidth"))
            window = (center, width, "linear")
        view = View(window, self._viewport(located, asked), _quality(asked))
        return self._marked(view, asked)[0]

    def _marked(self, view: View, asked: Asked) -> tuple[View, list[str]]:
        """The view with what is to be burnt in, and the annotations that are not known."""
        known, unknown = annotations_of([("annotation", text) for text in _annotation(asked)])
        mark, lossy = self.settings.picture_mark, self.settings.picture_mark_lossy
        return replace(view, annotation=known, mark=mark, mark_lossy=lossy), unknown

    def _viewport(self, located: Located, asked: Asked) -> Viewport | None:
        """Region and greatest size as one viewport; a size that is not given follows from the region's aspect."""
        rows, columns, region = (asked.get(name) for name in ("rows", "columns", "region"))
        if rows is None and columns is None and region is None:
            return None
        header = retrieve.header(self.archive, located)
        width, height = header.number(0x00280011) or 1, header.number(0x00280010) or 1
        x, y, right, bottom = _region(region) if region is not None else (0.0, 0.0, 1.0, 1.0)
        w, h = (right - x) * width, (bottom - y) * height
        most_rows, most_columns = _size("rows", rows), _size("columns", columns)
        if most_rows is None and most_columns is None:
            most_columns, most_rows = max(round(w), 1), max(round(h), 1)
        wide = most_columns or max(round((most_rows or 1) * w / h), 1)
        high = most_rows or max(round((most_columns or 1) * h / w), 1)
        if wide * high > MAX_PIXELS:
            raise BadRequest("rows", f"a picture has at most {MAX_PIXELS} pixels")
        return Viewport(wide, high, x * width, y * height, w, h)

    def _through_state(
        self, request: Request, located: Located, where: Target, asked: Asked, offer: Offer
    ) -> Representation:
        """The image as a presentation state of its study shows it (URI-10).

        Raises BadRequest for a state that is unknown, or that is for other images.
        """
        caller = caller_of(request.scope)
        series_uid, sop_uid = (asked[name] for name in _PRESENTATION)
        try:
            (state,) = retrieve.find(self.archive, caller, where.study_uid, series_uid, sop_uid)
        except NotFound as error:
            raise BadRequest(_PRESENTATION[1], "the study has no such presentation state") from error
        if kind_of(state) is not Kind.STATE:
            raise BadRequest(_PRESENTATION[1], "the instance is no presentation state of images")
        units: list[Unit] = []
        with suppress(NotRenderable):  # none of its images is here, so it is not for this one
            found, _ = stated(self.archive, caller, state)
            units = [unit for unit in found if unit.located.sop_uid == located.sop_uid]
        if not units:
            raise BadRequest(_PRESENTATION[1], "the presentation state is not for this image")
        unit = units[len(units) // 2]
        region = _region(asked["region"]) if "region" in asked else None
        most = [_size(name, asked.get(name)) for name in ("columns", "rows")]
        viewport = Viewport(*(size or MAX_SIDE for size in most)) if any(most) else None
        view, unsupported = self._marked(View(viewport=viewport, quality=_quality(asked)), asked)
        headers = {"Content-Location": f"{where.url}/frames/{unit.frame}" if len(units) > 1 else where.url}
        if unsupported:
            headers["Warning"] = f"299 {where.root}: {ANNOTATION_UNSUPPORTED.format(','.join(unsupported))}"
        return self.pictures.one(request, replace(unit, region=region), offer, headers, where, view)


def _asked(request: Request) -> Asked:
    """The parameters by name (GEN-04: case counts). Raises BadRequest for what is missing, repeated or malformed."""
    found: dict[str, str] = {}
    for name, value in parameters(request):
        if name in found:
            raise BadRequest(name[:64], "a parameter may stand once only")
        found[name] = value
    if found.get("requestType") != "WADO":
        raise BadRequest("requestType", "requestType is WADO")
    for name in (*_UIDS, *_PRESENTATION):
        if (name in _UIDS or name in found) and not is_uid(found.get(name, "")):
            raise BadRequest(name, f"{name} is a UID: digits and dots, at most 64")
    if "anonymize" in found:
        if found["anonymize"] != "yes":
            raise BadRequest("anonymize", "anonymize is yes, or not there")
        raise Failure(501, "not_implemented", "anonymize=yes: the gateway does not de-identify.")
    return found


def _check_together(asked: Asked) -> None:
    """Raises BadRequest for parameters that do not go without, or with, each other (URI-07, URI-10)."""
    for pair in (("windowCenter", "windowWidth"), _PRESENTATION):
        missing = [name for name in pair if name not in asked]
        if len(missing) == 1:
            raise BadRequest(missing[0], f"{pair[0]} and {pair[1]} go together")
    if _PRESENTATION[0] in asked:
        for name in ("windowCenter", "frameNumber"):
            if name in asked:
                raise BadRequest(name, f"{name} does not go with a presentation state")


def _content_types(asked: Asked) -> Sequence[MediaRange]:
    """What `contentType` names (URI-02); none where it is not there. Raises BadRequest."""
    text = asked.get("contentType")
    if text is None:
        return []
    found = parse(text)
    if ";" in text or not found or any("*" in one.media_type or one.multipart for one in found):
        raise BadRequest("contentType", "contentType is application/dicom or rendered types, without parameters")
    kinds = {one.media_type == offers.FILE for one in found}
    if len(kinds) > 1:
        raise BadRequest("contentType", "contentType is either application/dicom or rendered types")
    return found


def _quality(asked: Asked) -> int:
    return quality_of(asked["imageQuality"], "imageQuality") if "imageQuality" in asked else View().quality


def _annotation(asked: Asked) -> list[str]:
    return [asked[name] for name in ("annotation", "imageAnnotation") if name in asked][:1]


def _frame(asked: Asked, count: int) -> int:
    """The frame to be shown: the one that is named (URI-06), else the one in the middle."""
    text = asked.get("frameNumber")
    if text is None:
        return (count + 1) // 2
    if not _NUMBER.fullmatch(text) or count == 1 or int(text) > count:
        raise BadRequest("frameNumber", f"frameNumber is for multi-frame images, 1 to {count} in this one")
    return int(text)


def _region(text: str) -> tuple[float, float, float, float]:
    """`xmin,ymin,xmax,ymax` as fractions of the image (URI-08)."""
    parts = text.split(",")
    if len(parts) != 4 or not all(_FRACTION.fullmatch(part) for part in parts):
        raise BadRequest("region", "region is xmin,ymin,xmax,ymax, each from 0 to 1")
    x, y, right, bottom = (float(part) for part in parts)
    if x >= right or y >= bottom:
        raise BadRequest("region", "the region is empty")
    return x, y, right, bottom


def _size(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"0*[1-9][0-9]{0,5}", text):
        raise BadRequest(name, f"{name} is a positive number of pixels")
    return int(text)
