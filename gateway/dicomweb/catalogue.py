"""The resources of the Studies service (PS3.18 10.1) and of the URI service (PS3.18 9): the web wing's one table."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.dicom.uids import EXPLICIT_LITTLE_ENDIAN
from gateway.http.catalogue import Operation, Parameter, Resource, Service
from gateway.rights import Action

STUDY = "/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"
FRAMES = INSTANCE + "/frames/{frames}"

WADL = "application/vnd.sun.wadl+xml"
JSON, XML, FILE, OCTETS = (
    "application/dicom+json",
    "application/dicom+xml",
    "application/dicom",
    "application/octet-stream",
)


def related(root_type: str) -> str:
    """multipart/related of parts of this type."""
    return f'multipart/related; type="{root_type}"'


_READ = (200, 304, 400, 401, 404, 406, 410)
_BYTES = (200, 206, 304, 400, 401, 404, 406, 410, 416)
_PICTURES = ("image/jpeg", "image/png", "image/gif")
_COMPRESSED = tuple(
    related(name)
    for name in ("image/jpeg", "image/jls", "image/jp2", "image/jpx", "image/jphc", "image/jxl", "image/dicom-rle")
)
_RENDERING = ("accept", "annotation", "quality", "viewport", "window", "iccprofile")
_SEARCHING = (
    *("accept", "charset", "includefield", "fuzzymatching"),
    *("emptyvaluematching", "multiplevaluematching", "limit", "offset"),
)
_MODELS = (JSON, "application/json", related(XML))


def _search(name: str, what: str) -> Operation:
    statuses = (200, 204, 304, 400, 401, 406, 413, 503)
    return Operation(
        "GET",
        name,
        f"Search for {what}.",
        _MODELS,
        query=_SEARCHING,
        any_query=True,
        statuses=statuses,
        needs=Action.SEARCH,
    )


def _store(name: str, what: str) -> Operation:
    taken = (related(FILE), FILE, related(JSON), related(XML))
    statuses = (200, 202, 400, 401, 406, 409, 413, 415, 503, 507)
    return Operation("POST", name, f"Store instances{what}.", _MODELS, taken, statuses=statuses, needs=Action.STORE)


def _delete(name: str) -> Operation:
    statuses = (204, 400, 401, 404, 410, 503)
    return Operation("DELETE", f"delete.{name}", f"Delete the {name}.", statuses=statuses, needs=Action.DELETE)


def _retrieve(name: str, types: Sequence[str]) -> Operation:
    text = "Retrieve its instances: as files, their bulk data, or a zip archive."
    return Operation("GET", f"retrieve.{name}", text, types, query=("accept",), statuses=_BYTES, needs=Action.READ)


def _of(name: str, path: str, single: Sequence[str]) -> list[Resource]:
    """A study, series or instance, and what lies below all three alike."""
    bulk = (related(OCTETS), *_COMPRESSED)
    types = (related(FILE), *single, *bulk, "application/zip")
    own = [_retrieve(name, types), _delete(name)]
    if name == "study":
        own.insert(1, _store("store.study", " of this study"))
    return [
        Resource(path, own),
        Resource(path + "/metadata", [_metadata(name)]),
        Resource(path + "/rendered", [_rendered(name)]),
        Resource(path + "/thumbnail", [_thumbnail(name)]),
        Resource(path + "/bulkdata", [_bulk(f"bulkdata.{name}", "Retrieve all its bulk data.", bulk)]),
        Resource(path + "/pixeldata", [_bulk(f"pixeldata.{name}", "Retrieve its pixel data.", bulk)]),
    ]


def _metadata(name: str) -> Operation:
    text = "Retrieve the metadata of its instances."
    return Operation(
        "GET", f"metadata.{name}", text, _MODELS, query=("accept", "charset"), statuses=_READ, needs=Action.READ
    )


def _rendered(name: str) -> Operation:
    texts = ("text/html", "text/plain", "text/xml", "image/svg+xml")
    whole = (
        *texts,
        *(related(one) for one in texts),
        "application/pdf",
        "video/mp4",
        "video/mpeg",
        "video/mp2t",
        "video/h264",
        "video/h265",
    )
    types = (*_PICTURES, "image/webp", *(related(one) for one in _PICTURES), *(() if name == "frames" else whole))
    text = (
        "Retrieve a picture of it, or (multipart) one of each frame; reports as text, documents and videos as stored."
    )
    if name == "frames":
        text = "Retrieve a picture of it, or (multipart) one of each frame."
    return Operation("GET", f"rendered.{name}", text, types, query=_RENDERING, statuses=_BYTES, needs=Action.READ)


def _thumbnail(name: str) -> Operation:
    text = "Retrieve a small picture that stands for it."
    return Operation(
        "GET", f"thumbnail.{name}", text, _PICTURES, query=("accept", "viewport"), statuses=_BYTES, needs=Action.READ
    )


def _bulk(name: str, text: str, types: Sequence[str]) -> Operation:
    return Operation("GET", name, text, types, query=("accept",), statuses=_BYTES, needs=Action.READ)


def _integer(name: str, text: str, **bounds: int) -> Parameter:
    return Parameter(name, text, {"type": "integer", **bounds})


def _switch(name: str, text: str) -> Parameter:
    return Parameter(name, text, {"type": "string", "enum": ["true", "false"]})


def _uid(name: str, text: str) -> Parameter:
    return Parameter(name, text, {"type": "string", "maxLength": 64, "pattern": r"^(0|[1-9]\d*)(\.(0|[1-9]\d*))*$"})


_PARAMETERS = (
    _uid("study", "Study Instance UID."),
    _uid("series", "Series Instance UID."),
    _uid("instance", "SOP Instance UID."),
    Parameter(
        "frames",
        "Frame numbers from 1 on, separated by commas.",
        {"type": "string", "pattern": r"^0*[1-9][0-9]{0,9}(,0*[1-9][0-9]{0,9})*$"},
    ),
    Parameter("path", "The end of a BulkDataURI, such as 00420011 or 54000100/1/54001010."),
    Parameter("accept", "Media types as in the Accept header, without wildcards; the header has to cover them."),
    Parameter("charset", "Character sets that would do. Answers are in UTF-8, whatever it says."),
    Parameter("annotation", "What to write on the picture: patient, technique."),
    _integer("quality", "Of lossy pictures.", minimum=1, maximum=100),
    Parameter("viewport", "Size of the picture in pixels, and the part of the image in it: vw,vh[,sx,sy,sw,sh]."),
    Parameter("window", "center,width,function; the function is linear, linear-exact or sigmoid."),
    Parameter(
        "iccprofile",
        "Colour profile of the picture.",
        {"type": "string", "enum": ["no", "yes", "srgb", "adobergb", "rommrgb"]},
    ),
    Parameter("includefield", "Further attributes to return: keywords, tags, dotted paths, or all."),
    _switch("fuzzymatching", "Match names by their sound and by the beginnings of their words."),
    _switch("emptyvaluematching", 'Let a key of two quotation marks, "", match what has no value.'),
    _switch("multiplevaluematching", "Let a key of several values match what has all of them."),
    _integer("limit", "At most so many results.", minimum=0),
    _integer("offset", "Leave out so many results.", minimum=0),
)


STUDIES = Service(
    "/dicomweb",
    "Studies service",
    (
        Resource(
            "/",
            [
                Operation(
                    "OPTIONS", "capabilities", "What this service can do.", (WADL, "application/json"),
                    query=("accept",), statuses=(200, 304, 400, 406), needs=None,
                )
            ],
        ),
        Resource("/studies", [_search("search.studies", "studies"), _store("store", "")]),
        Resource("/series", [_search("search.series", "series of all studies")]),
        Resource("/instances", [_search("search.instances", "instances of all studies")]),
        Resource(STUDY + "/series", [_search("search.study.series", "series of the study")]),
        Resource(STUDY + "/instances", [_search("search.study.instances", "instances of the study")]),
        Resource(SERIES + "/instances", [_search("search.series.instances", "instances of the series")]),
        *_of("study", STUDY, ()),
        *_of("series", SERIES, ()),
        *_of("instance", INSTANCE, (FILE,)),
        Resource(
            FRAMES, [_bulk("frames", "Retrieve frames, in the order asked.", (related(OCTETS), OCTETS, *_COMPRESSED))]
        ),
        Resource(FRAMES + "/rendered", [_rendered("frames")]),
        Resource(FRAMES + "/thumbnail", [_thumbnail("frames")]),
        Resource(
            INSTANCE + "/bulkdata/{path}",
            [_bulk("bulkdata", "Retrieve what a BulkDataURI names.", (related(OCTETS), OCTETS, *_COMPRESSED))],
        ),
        Resource(
            INSTANCE + "/validation",
            [
                Operation(
                    "GET", "validation", "List the elements whose values break the rules of their VR.",
                    ("application/json",), statuses=_READ, needs=Action.READ,
                )
            ],
        ),
    ),
    {parameter.name: parameter for parameter in _PARAMETERS},
)  # fmt: skip

_URI_PARAMETERS = (
    Parameter("requestType", "WADO.", {"type": "string", "const": "WADO"}),
    _uid("studyUID", "Study Instance UID."),
    _uid("seriesUID", "Series Instance UID."),
    _uid("objectUID", "SOP Instance UID."),
    Parameter("contentType", "application/dicom, or a rendered type."),
    Parameter("charset", "Character sets that would do. Answers are in UTF-8, whatever it says."),
    Parameter("anonymize", "yes: refused, there is no de-identification.", {"type": "string", "const": "yes"}),
    _uid("transferSyntax", f"Transfer syntax of application/dicom; {EXPLICIT_LITTLE_ENDIAN} unless given."),
    _integer("frameNumber", "Frame of a multi-frame image.", minimum=1),
    Parameter("annotation", "What to write on the picture: patient, technique."),
    Parameter("imageAnnotation", "As annotation."),
    _integer("imageQuality", "Of lossy pictures.", minimum=1, maximum=100),
    _integer("rows", "Greatest height of the picture in pixels.", minimum=1),
    _integer("columns", "Greatest width of the picture in pixels.", minimum=1),
    Parameter("region", "Part of the image: xmin,ymin,xmax,ymax, each from 0 to 1."),
    Parameter("windowCenter", "Window center; with windowWidth.", {"type": "number"}),
    Parameter("windowWidth", "Window width; with windowCenter.", {"type": "number", "exclusiveMinimum": 0}),
    _uid("presentationSeriesUID", "Series of a presentation state; with presentationUID."),
    _uid("presentationUID", "SOP Instance UID of a presentation state."),
)

URI = Service(
    "/wado",
    "URI service",
    (
        Resource(
            "",
            [
                Operation(
                    "GET", "wado", "Retrieve one instance, as a file or as a picture.",
                    (*_PICTURES, FILE, "application/pdf", "video/mp4", "video/mpeg"),
                    query=[parameter.name for parameter in _URI_PARAMETERS], statuses=(*_BYTES, 501),
                    needs=Action.READ,
                )
            ],
        ),
    ),
    {parameter.name: parameter for parameter in _URI_PARAMETERS},
)  # fmt: skip

SERVICES = (STUDIES, URI)
