"""Bulk data and pixel data of studies, series and instances; XML metadata; zip archives; other transfer syntaxes."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from gateway.dicom.description import PixelDescription
from gateway.dicom.frames import FrameTable
from gateway.dicom.header import read_header
from gateway.dicom.native_model import NAMESPACE
from gateway.dicom.pixels import frame_to_native
from tests.gateway.dicomweb.service import Service, parts_of, serve
from tests.parts.datasets import color, ct_slice, encapsulated, multi_frame, part10_bytes, pdf, report

OCTETS = 'multipart/related; type="application/octet-stream"'
XML = 'multipart/related; type="application/dicom+xml"'
FILES = 'multipart/related; type="application/dicom"'

FRAMES = multi_frame("frames", frames=3)
RLE = color("rle", frames=2)
LETTER = pdf("letter", document=b"%PDF-1.4 " + b"letter " * 300)
REPORT = report("report")
SLICE = ct_slice("slice")
IMPLICIT = ct_slice("slice", number=2)


def icon_of() -> Dataset:
    """A compressed image with a compressed icon of its own (PS3.3 C.7.6.1.1.6)."""
    ds = encapsulated(ct_slice("icon"), [b"\xff\x4f\xff\x51 main"])
    icon = encapsulated(ct_slice("x"), [b"\xff\x4f\xff\x51 icon!"])
    item = Dataset()
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        setattr(item, keyword, getattr(icon, keyword))
    item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
    item.PixelData = icon.PixelData
    item["PixelData"].is_undefined_length = True
    ds.IconImageSequence = Sequence([item])
    return ds


ICON = icon_of()


def url(ds: Dataset) -> str:
    return f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"


@pytest.fixture(scope="module")
def filled(shared: Service) -> Iterator[Service]:
    files = [
        part10_bytes(FRAMES),
        part10_bytes(RLE, RLELossless),
        part10_bytes(LETTER),
        part10_bytes(REPORT),
        part10_bytes(SLICE),
        part10_bytes(IMPLICIT, ImplicitVRLittleEndian),
        part10_bytes(ICON, JPEG2000Lossless),
    ]
    answer = shared.store(*files)
    assert answer.status_code == 200, answer.text
    yield shared


def native_of(ds: Dataset) -> bytes:
    """The pixels of a data set as stored by a test: decoded by the codecs, which have tests of their own."""
    table = BytesIO()
    ds.save_as(table)
    header = read_header(table, table.tell())
    frames = FrameTable.read(header.inflated or table, header)
    assert frames is not None
    data = header.inflated or table
    found = b""
    for number in range(1, frames.count + 1):
        offset, length = frames.span(number)
        data.seek(offset)
        frame = frames.extract(number, data.read(length))
        description = PixelDescription.from_header(header)
        uid_ = str(ds.file_meta.TransferSyntaxUID)
        found += frame_to_native(frame, description, uid_)[0] if header.syntax.encapsulated else frame
    return found


def bulk_uris(found: object) -> list[str]:
    """Every BulkDataURI in metadata, sequences included."""
    if isinstance(found, list):
        return [uri for one in found for uri in bulk_uris(one)]
    if isinstance(found, dict):
        own = [found["BulkDataURI"]] if "BulkDataURI" in found else []
        return own + [uri for value in found.values() for uri in bulk_uris(value)]
    return []


# ---------------------------------------------------------------- bulk data and pixel data


@pytest.mark.parametrize("ds", [FRAMES, LETTER, SLICE], ids=["frames", "letter", "slice"])
@pytest.mark.parametrize("level", ["study", "series", "instance"])
def test_bulkdata_is_every_bulk_value_under_its_uri(filled: Service, ds: Dataset, level: str) -> None:
    """WADO-06, WADO-12, GEN-12: locations are the BulkDataURIs of the metadata, and these answer the same."""
    paths = {"instance": url(ds), "series": url(ds).split("/instances/")[0], "study": url(ds).split("/series/")[0]}
    named = bulk_uris(filled.get(paths[level] + "/metadata").json())
    answer = filled.get(paths[level] + "/bulkdata", f"{OCTETS}, multipart/related; type=application/pdf;q=0.5")
    assert answer.status_code == 200
    parts = parts_of(answer)
    assert [headers["content-location"] for headers, _ in parts] == named
    for headers, data in parts:
        assert filled.client.get(headers["content-location"]).content == data


def test_bulkdata_of_compressed_pixels_is_one_part_a_frame(filled: Service) -> None:
    """TS-13, WADO-13, MT-03."""
    parts = parts_of(filled.get(url(RLE) + "/bulkdata", f"{OCTETS}; transfer-syntax=*"))
    assert [headers["content-location"] for headers, _ in parts] == [
        f"{filled.url}{url(RLE)}/frames/{number}" for number in (1, 2)
    ]
    assert all(headers["content-type"].endswith(f"transfer-syntax={RLELossless}") for headers, _ in parts)


@pytest.mark.parametrize("level", ["study", "series", "instance"])
def test_pixeldata_is_that_of_the_image_and_not_its_icons(filled: Service, level: str) -> None:
    """WADO-06, WADO-11, TS-12."""
    paths = {
        "instance": url(ICON),
        "series": url(ICON).split("/instances/")[0],
        "study": url(ICON).split("/series/")[0],
    }
    ((headers, data),) = parts_of(filled.get(paths[level] + "/pixeldata", f"{OCTETS}; transfer-syntax=*"))
    assert data.rstrip(b"\0") == b"\xff\x4f\xff\x51 main"
    assert headers["content-type"] == f"application/octet-stream; transfer-syntax={JPEG2000Lossless}"


def test_an_icon_that_is_compressed_too_is_a_bulk_value_of_its_own(filled: Service) -> None:
    """TS-12, WADO-12: the bare codestream of the icon, not that of the image."""
    named = [uri for uri in bulk_uris(filled.get(url(ICON) + "/metadata").json()) if "00880200" in uri]
    assert len(named) == 1
    answer = filled.client.get(named[0])
    assert answer.content.rstrip(b"\0") == b"\xff\x4f\xff\x51 icon!"
    assert answer.headers["content-type"] == f"image/jp2; transfer-syntax={JPEG2000Lossless}"
    locations = [h["content-location"] for h, _ in parts_of(filled.get(url(ICON) + "/bulkdata", "multipart/related"))]
    assert named[0] in locations


@pytest.mark.parametrize("resource", ["/bulkdata", "/pixeldata"])
def test_without_bulk_data_there_is_none(filled: Service, resource: str) -> None:
    """WADO-16, SC-404: 404 where there is no bulk data, 406 where there is some that the client takes in no form."""
    assert filled.get(url(REPORT) + resource, OCTETS).status_code == 404
    refused = filled.get(url(SLICE) + resource, 'multipart/related; type="image/png"')
    assert (refused.status_code, refused.json()["stored"]) == (406, str(ExplicitVRLittleEndian))


@pytest.mark.parametrize("level", ["study", "series", "instance"])
def test_octet_stream_of_instances_is_their_bulk_data(filled: Service, level: str) -> None:
    """MT-01: the historical form of the bulk data resource."""
    paths = {"instance": url(FRAMES), "series": url(FRAMES).split("/instances/")[0]}
    path = paths.get(level, url(FRAMES).split("/series/")[0])
    parts = parts_of(filled.get(path, OCTETS))
    assert parts == parts_of(filled.get(path + "/bulkdata", OCTETS))
    assert b"".join(data for _, data in parts) == FRAMES.PixelData


def test_parts_of_one_answer_have_the_type_that_suits_each(service: Service) -> None:
    """NEG-07, MT-01: chosen part by part, in a study of several transfer syntaxes."""
    rle, plain = color("mixed", number=1), ct_slice("mixed", series=2)
    service.store(part10_bytes(rle, RLELossless), part10_bytes(plain))
    accept = 'multipart/related; type="image/dicom-rle", multipart/related; type="application/octet-stream";q=0.5'
    parts = parts_of(service.get(f"/studies/{rle.StudyInstanceUID}", f"{accept}; transfer-syntax=1.2.840.10008.1.2.1"))
    assert sorted(headers["content-type"].split(";")[0] for headers, _ in parts) in (
        ["application/octet-stream", "image/dicom-rle"],
        ["image/dicom-rle", "image/dicom-rle"],  # the other can be had as RLE as well
    )


def test_bulkdata_of_an_instance_can_be_had_in_ranges(filled: Service) -> None:
    """GEN-19, GEN-20: a byte-stable multipart body."""
    path = url(FRAMES) + "/bulkdata"
    whole = filled.get(path, OCTETS)
    part = filled.get(path, OCTETS, Range="bytes=10-99")
    assert (part.status_code, part.content) == (206, whole.content[10:100])
    assert filled.get(path, OCTETS, If_None_Match=whole.headers["etag"]).status_code == 304
    head = filled.client.head(path, headers={"Accept": OCTETS})
    assert (head.headers["etag"], head.content) == (whole.headers["etag"], b"")


# ---------------------------------------------------------------- XML


@pytest.mark.parametrize("level", ["study", "series", "instance"])
def test_metadata_in_xml_is_a_document_an_instance(filled: Service, level: str) -> None:
    """MT-02, XML-01, XML-02, WADO-02."""
    paths = {"instance": url(SLICE), "series": url(SLICE).split("/instances/")[0]}
    path = paths.get(level, url(SLICE).split("/series/")[0])
    answer = filled.get(path + "/metadata", XML)
    assert answer.headers["content-type"].startswith(f"{XML}; boundary=")
    parts = parts_of(answer)
    assert len(parts) == (1 if level == "instance" else 2)
    for headers, data in parts:
        assert headers["content-type"] == "application/dicom+xml"
        assert headers["content-location"].endswith("/metadata")
        assert ElementTree.fromstring(data).tag == f"{{{NAMESPACE}}}NativeDicomModel"
    assert filled.get(path + "/metadata", XML, If_None_Match=answer.headers["etag"]).status_code == 304


def test_xml_and_json_name_the_same_bulk_data(filled: Service) -> None:
    """XML-01, WADO-12."""
    ((_, data),) = parts_of(filled.get(url(LETTER) + "/metadata", XML))
    uris = [one.attrib["uri"] for one in ElementTree.fromstring(data).iter(f"{{{NAMESPACE}}}BulkData")]
    assert uris == bulk_uris(filled.get(url(LETTER) + "/metadata").json())


@pytest.mark.parametrize("path", ["/studies", "/series", "/instances"])
def test_search_results_in_xml_are_a_part_each(filled: Service, path: str) -> None:
    """MT-06."""
    total = len(filled.get(path).json())
    answer = filled.get(path, XML)
    assert answer.status_code == 200
    parts = parts_of(answer)
    assert len(parts) == total
    assert all(headers["content-type"] == "application/dicom+xml" for headers, _ in parts)
    assert filled.get(path, XML, If_None_Match=answer.headers["etag"]).status_code == 304


# ---------------------------------------------------------------- zip


def test_a_study_as_a_zip_archive(filled: Service) -> None:
    """MT-07, S-76: generated names, files as they are stored; Implicit VR leaves as Explicit VR (GEN-13)."""
    study = f"/studies/{SLICE.StudyInstanceUID}"
    answer = filled.get(study, "application/zip")
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(BytesIO(answer.content))
    assert archive.testzip() is None
    assert archive.namelist() == ["series0001/000001.dcm", "series0001/000002.dcm"]
    files = [dcmread(BytesIO(archive.read(name))) for name in archive.namelist()]
    assert [one.SOPInstanceUID for one in files] == [SLICE.SOPInstanceUID, IMPLICIT.SOPInstanceUID]
    assert [one.file_meta.TransferSyntaxUID for one in files] == [ExplicitVRLittleEndian] * 2
    assert filled.get(study, "application/zip", If_None_Match=answer.headers["etag"]).status_code == 304
    assert filled.get(study, "application/zip").content == answer.content


def test_an_archive_in_the_transfer_syntax_that_is_named(filled: Service) -> None:
    """MT-07, NEG-08."""
    answer = filled.get(url(SLICE), f"application/zip; transfer-syntax={JPEGLSLossless}")
    archive = zipfile.ZipFile(BytesIO(answer.content))
    (name,) = archive.namelist()
    ds = dcmread(BytesIO(archive.read(name)))
    assert ds.file_meta.TransferSyntaxUID == JPEGLSLossless
    assert native_of(ds) == SLICE.PixelData


# ---------------------------------------------------------------- other transfer syntaxes


@pytest.mark.parametrize(
    "syntax",
    [
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLosslessSV1,
        JPEGLSLossless,
        JPEG2000Lossless,
        HTJ2KLossless,
        HTJ2KLosslessRPCL,
    ],
)
@pytest.mark.parametrize("ds", [SLICE, IMPLICIT, RLE], ids=["grey", "implicit", "colour"])
def test_an_instance_in_any_lossless_transfer_syntax(filled: Service, ds: Dataset, syntax: UID) -> None:
    """WADO-19, NEG-08, MT-01: the same pixels, File Meta Information and description to match."""
    answer = filled.get(url(ds), f"application/dicom; transfer-syntax={syntax}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == f"application/dicom; transfer-syntax={syntax}"
    got = dcmread(BytesIO(answer.content))
    assert got.file_meta.TransferSyntaxUID == syntax
    assert got.SOPInstanceUID == ds.SOPInstanceUID
    assert native_of(got) == ds.PixelData
    assert (
        answer.headers["etag"]
        == filled.client.head(url(ds), headers={"Accept": f"application/dicom; transfer-syntax={syntax}"}).headers[
            "etag"
        ]
    )


@pytest.mark.parametrize(
    ("media_type", "syntax"),
    [
        ("image/jpeg", JPEGLosslessSV1),
        ("image/jls", JPEGLSLossless),
        ("image/x-jls", JPEGLSLossless),
        ("image/jp2", JPEG2000Lossless),
        ("image/jphc", HTJ2KLossless),
        ("image/jhc", HTJ2KLossless),
        ("image/dicom-rle", RLELossless),
        ("image/x-dicom-rle", RLELossless),
    ],
)
def test_frames_in_the_default_of_a_media_type(filled: Service, media_type: str, syntax: UID) -> None:
    """TS-02 to TS-07, NEG-14: of native frames, by name or older name; multipart or a single part."""
    for accept in (f'multipart/related; type="{media_type}"', media_type):
        answer = filled.get(url(FRAMES) + "/frames/2", accept)
        assert answer.status_code == 200, answer.text
        kind = answer.headers["content-type"]
        if accept != media_type:
            ((headers, _),) = parts_of(answer)
            kind = headers["content-type"]
        assert kind.endswith(f"; transfer-syntax={syntax}")


def test_a_transfer_syntax_may_be_named_for_frames(filled: Service) -> None:
    """NEG-08, TS-02, TS-07; and where it cannot be made, 406 lists what can (SC-406)."""
    rpcl = filled.get(url(FRAMES) + "/frames/1", f"image/jphc; transfer-syntax={HTJ2KLosslessRPCL}")
    assert rpcl.headers["content-type"].endswith(HTJ2KLosslessRPCL)
    refused = filled.get(url(SLICE) + "/frames/1", f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}")
    assert refused.status_code == 406
    assert any(JPEGLSLossless in one for one in refused.json()["offered"])


def test_a_series_in_another_transfer_syntax(filled: Service) -> None:
    """MT-01, NEG-08: each part says its own."""
    series = url(SLICE).split("/instances/")[0]
    parts = parts_of(filled.get(series, f"{FILES}; transfer-syntax={HTJ2KLossless}"))
    assert [headers["content-type"] for headers, _ in parts] == [
        f"application/dicom; transfer-syntax={HTJ2KLossless}"
    ] * 2


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, "1.2.840.10008.1.2.2", "1.2.3"])
def test_some_transfer_syntaxes_never_leave(filled: Service, syntax: str) -> None:
    """GEN-13, SC-406."""
    for accept in (f"application/dicom; transfer-syntax={syntax}", f"application/zip; transfer-syntax={syntax}"):
        assert filled.get(url(IMPLICIT), accept).status_code == 406


def test_etags_tell_representations_apart(filled: Service) -> None:
    """GEN-19."""
    accepts = (
        "application/dicom; transfer-syntax=*",
        f"application/dicom; transfer-syntax={HTJ2KLossless}",
        FILES,
        OCTETS,
    )
    tags = {filled.get(url(SLICE), accept).headers["etag"] for accept in (*accepts, "application/zip")}
    assert len(tags) == 5


def test_what_was_deleted_is_gone_and_what_never_was_is_not_found(tmp_path: Path) -> None:
    """SC-404, WADO-16, URI-01: 410 as long as the change feed tells; stored again, it is there again."""
    with serve(tmp_path) as service:
        service.store(SLICE)
        study = f"/studies/{SLICE.StudyInstanceUID}"
        assert service.client.delete(study).status_code == 204
        for resource in ("", "/metadata", "/bulkdata", "/pixeldata", "/rendered"):
            assert service.get(study + resource).status_code == 410
        assert service.get(url(SLICE)).json()["type"] == "urn:gantry:problem:gone"
        assert service.client.delete(study).status_code == 410
        asked = {"requestType": "WADO", "studyUID": SLICE.StudyInstanceUID, "seriesUID": SLICE.SeriesInstanceUID}
        found = service.client.get(f"{service.origin}/wado", params={**asked, "objectUID": SLICE.SOPInstanceUID})
        assert found.status_code == 410
        for other in (f"{study}/series/1.2.3", "/studies/1.2.3", url(SLICE).replace(SLICE.SOPInstanceUID, "1.2.3")):
            assert service.get(other).status_code == 404
        service.store(SLICE)
        assert service.get(study).status_code == 200
