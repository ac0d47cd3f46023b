"""WADO-RS over real sockets: instances, metadata, frames, bulk data, deletion."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from datetime import timedelta
from email.parser import BytesParser
from email.policy import HTTP
from email.utils import format_datetime, parsedate_to_datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import MPEG4HP41, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from tests.gateway.dicomweb.service import Service, parts_of, serve
from tests.parts.datasets import (
    color,
    ct_slice,
    encapsulated,
    multi_frame,
    part10_bytes,
    pdf,
    report,
    series_of,
    uid,
)
from tests.parts.files import dataset_bytes

ELE = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
OCTETS = 'multipart/related; type="application/octet-stream"'

SLICES = series_of(5, "slices")
FILES = [part10_bytes(one) for one in SLICES]
FRAMES = multi_frame("frames", frames=20)
RLE = color("rle", frames=3)
IMPLICIT_SLICE = ct_slice("implicit")
BIG_SLICE = ct_slice("big")
LETTER = pdf("letter", document=b"%PDF-1.4 a letter of odd length\n%%EOF")
PAGE = pdf("page", document=b"<script>alert(1)</script>", MIMETypeOfEncapsulatedDocument="text/html")
BROKEN_TYPE = pdf("type", document=b"x" * 2000, MIMETypeOfEncapsulatedDocument="a/b; x=\r\nSet-Cookie: evil")
FILM = encapsulated(color("film", frames=2), [b"\0\0\0\x18ftypmp42" + b"film" * 100], photometric="YBR_PARTIAL_420")
JUNK_J2K = encapsulated(ct_slice("junk"), [b"\xff\x4f\xff\x51 is no codestream"])
LOSSY = encapsulated(color("lossy"), [b"\xff\xd8 not looked at \xff\xd9 "], photometric="YBR_FULL_422")
REPORT = report("report")


def url(ds: Dataset) -> str:
    return f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"


@pytest.fixture(scope="module")
def filled(shared: Service) -> Iterator[Service]:
    FILM.NumberOfFrames = 2
    files = [
        *FILES,
        part10_bytes(FRAMES),
        part10_bytes(RLE, RLELossless),
        part10_bytes(IMPLICIT_SLICE, IMPLICIT),
        part10_bytes(BIG_SLICE, BIG_ENDIAN),
        part10_bytes(LETTER),
        part10_bytes(PAGE),
        part10_bytes(BROKEN_TYPE),
        part10_bytes(FILM, MPEG4HP41),
        part10_bytes(JUNK_J2K, JPEG2000Lossless),
        part10_bytes(LOSSY, JPEGBaseline8Bit),
        part10_bytes(REPORT),
    ]
    answer = shared.store(*files)
    assert answer.status_code == 202, answer.text
    yield shared


# ---------------------------------------------------------------- instances


@pytest.mark.parametrize("accept", [STORED, "*/*", 'multipart/related; type="application/dicom"'])
@pytest.mark.parametrize("level", ["study", "series"])
def test_a_study_and_a_series_come_as_they_were_stored(filled: Service, accept: str, level: str) -> None:
    """WADO-01, MT-01, GEN-08 to GEN-11, WADO-13."""
    path = f"/studies/{uid('study', 'slices')}" + (f"/series/{uid('series', 'slices', 1)}" if level == "series" else "")
    answer = filled.get(path, accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith('multipart/related; type="application/dicom"; boundary=')
    assert answer.headers["content-length"] == str(len(answer.content))
    parts = parts_of(answer)
    assert [dataset_bytes(body) for _, body in parts] == [dataset_bytes(file) for file in FILES]
    for (headers, _), ds in zip(parts, SLICES, strict=True):
        assert headers["content-type"] == f"application/dicom; transfer-syntax={ELE}"
        assert headers["content-location"] == filled.url + url(ds)


def test_an_instance_as_a_single_part(filled: Service) -> None:
    """MT-01, S-20."""
    answer = filled.get(url(SLICES[0]), "application/dicom; transfer-syntax=*")
    assert answer.headers["content-type"] == f"application/dicom; transfer-syntax={ELE}"
    assert answer.headers["content-disposition"] == f'attachment; filename="{SLICES[0].SOPInstanceUID}.dcm"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert dataset_bytes(answer.content) == dataset_bytes(FILES[0])


def test_a_single_part_of_a_study_is_not_on_offer(filled: Service) -> None:
    """NEG-12."""
    answer = filled.get(f"/studies/{uid('study', 'slices')}", "application/dicom")
    assert answer.status_code == 406
    assert any("multipart/related" in offer for offer in answer.json()["offered"])
    assert answer.json()["stored"] == ELE


@pytest.mark.parametrize("ds", [IMPLICIT_SLICE, BIG_SLICE])
@pytest.mark.parametrize("accept", [STORED, "*/*", "application/dicom", 'multipart/related; type="application/dicom"'])
def test_implicit_and_big_endian_never_leave(filled: Service, ds: Dataset, accept: str) -> None:
    """GEN-13."""
    answer = filled.get(url(ds), accept)
    body = answer.content if accept == "application/dicom" else parts_of(answer)[0][1]
    got = dcmread(BytesIO(body))
    assert got.file_meta.TransferSyntaxUID == ELE
    assert got.PixelData == ds.PixelData


def test_without_a_transfer_syntax_lossless_data_are_decoded(filled: Service) -> None:
    """NEG-09."""
    ((headers, body),) = parts_of(filled.get(url(RLE), 'multipart/related; type="application/dicom"'))
    assert headers["content-type"].endswith(ELE)
    got = dcmread(BytesIO(body))
    assert got.file_meta.TransferSyntaxUID == ELE
    assert got.PixelData == RLE.PixelData


def test_without_a_transfer_syntax_lossy_data_stay_as_they_are(filled: Service) -> None:
    """NEG-09."""
    ((headers, _),) = parts_of(filled.get(url(LOSSY), 'multipart/related; type="application/dicom"'))
    assert headers["content-type"].endswith(JPEGBaseline8Bit)


def test_what_cannot_be_decoded_is_given_as_it_is_stored(filled: Service) -> None:
    """NEG-09: any syntax may be given where decoding fails; NEG-10: not when another was asked for by name."""
    ((headers, _),) = parts_of(filled.get(url(JUNK_J2K), 'multipart/related; type="application/dicom"'))
    assert headers["content-type"].endswith(JPEG2000Lossless)
    answer = filled.get(url(JUNK_J2K), f'multipart/related; type="application/dicom"; transfer-syntax={ELE}')
    assert answer.status_code == 406
    assert answer.json()["stored"] == JPEG2000Lossless


def test_the_setting_gives_the_stored_form_where_none_is_named(tmp_path: Path) -> None:
    with serve(tmp_path, retrieve_default="stored") as service:
        service.store(part10_bytes(RLE, RLELossless))
        ((headers, _),) = parts_of(service.get(url(RLE), 'multipart/related; type="application/dicom"'))
        assert headers["content-type"].endswith(RLELossless)


@pytest.mark.parametrize(
    "path",
    [
        "/studies/1.2.3",
        "/studies/1.2.3/metadata",
        f"/studies/{uid('study', 'slices')}/series/1.2",
        f"/studies/{uid('study', 'frames')}/series/{uid('series', 'slices', 1)}",  # WADO-18
        url(SLICES[0]) + "/frames/2",
        url(REPORT) + "/frames/1",
        url(SLICES[0]) + "/bulkdata/00420011",
        url(SLICES[0]) + "/bulkdata/%2e%2e/%2e%2e/x",
        url(SLICES[0]) + "/bulkdata/%00",
    ],
)
def test_what_is_not_there_is_not_found(filled: Service, path: str) -> None:
    """SC-404, WADO-14, WADO-18, S-65."""
    answer = filled.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


# ---------------------------------------------------------------- byte-stable bodies


BODIES = [
    (f"/studies/{uid('study', 'slices')}", STORED),
    (url(SLICES[0]), "application/dicom; transfer-syntax=*"),
    (url(RLE), "application/dicom"),
    (url(FRAMES) + "/frames/3", OCTETS),
    (url(RLE) + "/frames/2,1", OCTETS),
    (url(FRAMES) + "/frames/3", "application/octet-stream"),
    (url(LETTER) + "/bulkdata/00420011", "*/*"),
    (f"/studies/{uid('study', 'slices')}/metadata", "application/dicom+json"),
    (url(SLICES[0]) + "/rendered", "image/png"),
]


@pytest.mark.parametrize(("path", "accept"), BODIES)
def test_bodies_are_byte_stable_and_can_be_had_in_pieces(filled: Service, path: str, accept: str) -> None:
    """GEN-19, GEN-20, SC-206, SC-304; Cornerstone3D glues ranges of a multipart body."""
    filled.client.headers["Accept-Encoding"] = "identity"  # httpx would unpack what it counts
    whole = filled.get(path, accept)
    assert whole.status_code == 200
    assert whole.headers["etag"].startswith('"')
    assert whole.headers["accept-ranges"] == "bytes"
    assert "Accept" in whole.headers["vary"]
    again = filled.get(path, accept)
    assert (again.content, again.headers["etag"]) == (whole.content, whole.headers["etag"])
    size = len(whole.content)
    cut = size // 3
    first = filled.get(path, accept, Range=f"bytes=0-{cut - 1}")
    rest = filled.get(path, accept, Range=f"bytes={cut}-", If_Range=whole.headers["etag"])
    assert (first.status_code, rest.status_code) == (206, 206)
    assert first.headers["content-range"] == f"bytes 0-{cut - 1}/{size}"
    assert rest.headers["content-range"] == f"bytes {cut}-{size - 1}/{size}"
    assert first.content + rest.content == whole.content
    assert filled.get(path, accept, Range="bytes=-7").content == whole.content[-7:]
    assert filled.get(path, accept, Range="bytes=0-1").content == whole.content[:2]
    assert filled.get(path, accept, Range="bytes=0-1", If_Range='"other"').status_code == 200
    beyond = filled.get(path, accept, Range=f"bytes={size}-")
    assert beyond.status_code == 416
    assert beyond.headers["content-range"] == f"bytes */{size}"
    unchanged = filled.get(path, accept, If_None_Match=f'"x", W/{whole.headers["etag"]}')
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["etag"] == whole.headers["etag"]
    assert filled.get(path, accept, If_Match='"other"').status_code == 412


@pytest.mark.parametrize(("path", "accept"), BODIES)
def test_head_has_the_headers_of_get_and_no_body(filled: Service, path: str, accept: str) -> None:
    """GEN-19."""
    whole = filled.get(path, accept)
    head = filled.client.head(path, headers={"Accept": accept})
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "etag", "cache-control", "vary"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    "value", ["bytes=5-2", "bytes=", "bytes=-", "bytes=a-b", "items=0-1", "bytes=0-1,x", "bytes=0-" + "9" * 30]
)
def test_ranges_that_are_malformed_get_the_whole(filled: Service, value: str) -> None:
    """S-54."""
    assert filled.get(url(FRAMES) + "/frames/3", "application/octet-stream", Range=value).status_code == 200


@pytest.mark.parametrize("path", [url(FRAMES) + "/frames/3", url(FRAMES) + "/frames/1,2"])
def test_several_ranges_are_multipart_byteranges(filled: Service, path: str) -> None:
    """GEN-20, SC-206: in the order asked, those beyond the end left out; the same bytes each time."""
    whole = filled.get(path)
    size = len(whole.content)
    asked = f"bytes=10-19, -5,{size + 7}-,0-0"
    answer = filled.get(path, Range=asked)
    assert answer.status_code == 206
    assert "content-range" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["etag"] == whole.headers["etag"]
    message = BytesParser(policy=HTTP).parsebytes(
        b"Content-Type: " + answer.headers["content-type"].encode() + b"\r\n\r\n" + answer.content
    )
    assert message.get_content_type() == "multipart/byteranges"
    parts = list(message.iter_parts())
    ends = [(10, 20), (size - 5, size), (0, 1)]
    assert [one["content-range"] for one in parts] == [f"bytes {start}-{stop - 1}/{size}" for start, stop in ends]
    kinds = {one["content-type"].replace('"', "") for one in parts}
    assert kinds == {whole.headers["content-type"].replace('"', "")}
    head = b"Content-Range: bytes 10-19/%d\r\n\r\n" % size
    at = answer.content.index(head) + len(head)
    assert answer.content[at : at + 12] == whole.content[10:20] + b"\r\n"
    assert filled.get(path, Range=asked).content == answer.content
    one = filled.get(path, Range=f"bytes=3-4,{size}-")
    assert (one.status_code, one.headers["content-range"], one.content) == (
        206,
        f"bytes 3-4/{size}",
        whole.content[3:5],
    )
    assert filled.get(path, Range=f"bytes={size}-,{size + 1}-").status_code == 416
    assert filled.get(path, Range="bytes=0-1,3-4", If_Range='"other"').status_code == 200


@pytest.mark.parametrize(
    "value",
    [
        "bytes=" + ",".join(f"{number}-{number + 1}" for number in range(5_000)),
        "bytes=" + ",".join(f"{number}-{number}" for number in range(17)),
        "bytes=0-,0-",
        "bytes=" + "0-400," * 15 + "1-2",
    ],
)
def test_a_storm_of_ranges_gets_the_whole(filled: Service, value: str) -> None:
    """S-54: more than 16, or more bytes than there are."""
    answer = filled.get(url(FRAMES) + "/frames/3", "application/octet-stream", Range=value)
    assert (answer.status_code, len(answer.content)) == (200, 512)


@pytest.mark.parametrize("path", ["", "/frames/1", "/frames/1,2", "/pixeldata", "/bulkdata/7FE00010"])
def test_when_an_instance_was_stored_is_told_and_can_be_asked(filled: Service, path: str) -> None:
    """GEN-19, SC-304: Last-Modified; an entity tag counts more than a date, and a date that is none is ignored."""
    whole = filled.get(url(FRAMES) + path)
    stored = whole.headers["last-modified"]
    at = parsedate_to_datetime(stored)
    assert abs(time.time() - at.timestamp()) < 3600
    before, after = (format_datetime(at + timedelta(seconds=by), usegmt=True) for by in (-1, 1))
    asked = url(FRAMES) + path
    assert filled.get(asked, If_Modified_Since=stored).status_code == 304
    assert filled.get(asked, If_Modified_Since=after).status_code == 304
    assert filled.get(asked, If_Modified_Since=before).status_code == 200
    assert filled.get(asked, If_Modified_Since="yesterday").status_code == 200
    assert filled.get(asked, If_Modified_Since=after, If_None_Match='"other"').status_code == 200
    assert filled.get(asked, If_Unmodified_Since=before).status_code == 412
    assert filled.get(asked, If_Unmodified_Since=stored).status_code == 200
    assert filled.client.head(asked).headers["last-modified"] == stored


def test_what_may_lose_an_instance_has_no_date(filled: Service) -> None:
    """GEN-19: nothing in a study is newer when one of it was deleted; its entity tag is another one."""
    assert "last-modified" not in filled.get(f"/studies/{uid('study', 'slices')}").headers


def test_ranges_of_a_suffix_of_nothing_cannot_be_satisfied(filled: Service) -> None:
    """S-54."""
    assert filled.get(url(FRAMES) + "/frames/3", "*/*", Range="bytes=-0").status_code == 416


# ---------------------------------------------------------------- metadata


def test_metadata_of_a_study_is_one_array(filled: Service) -> None:
    """WADO-02, MT-02, JSON-01."""
    answer = filled.get(f"/studies/{uid('study', 'slices')}/metadata", "application/dicom+json")
    assert answer.headers["content-type"] == "application/dicom+json"
    found = answer.json()
    assert [one["00080018"]["Value"] for one in found] == [[ds.SOPInstanceUID] for ds in SLICES]
    assert found[0]["7FE00010"] == {"vr": "OW", "BulkDataURI": f"{filled.url}{url(SLICES[0])}/bulkdata/7FE00010"}
    assert answer.headers["cache-control"] == "private, no-cache"


def test_a_bulk_data_uri_leads_to_the_value(filled: Service) -> None:
    """WADO-05, GEN-12."""
    (found,) = filled.get(url(SLICES[0]) + "/metadata").json()
    answer = filled.client.get(found["7FE00010"]["BulkDataURI"], headers={"Accept": OCTETS})
    ((headers, body),) = parts_of(answer)
    assert headers["content-location"] == found["7FE00010"]["BulkDataURI"]
    assert body == SLICES[0].PixelData


def test_bulk_data_uris_lie_below_the_public_url(tmp_path: Path) -> None:
    """S-59; viewers.md: http behind https."""
    with serve(tmp_path, public_url="https://images.example/gantry/") as service:
        service.store(SLICES[0])
        answer = service.get(url(SLICES[0]) + "/metadata", Host="evil.example")
        assert answer.json()[0]["7FE00010"]["BulkDataURI"] == (
            f"https://images.example/gantry/dicomweb{url(SLICES[0])}/bulkdata/7FE00010"
        )
        (found,) = service.get("/studies").json()
        assert found["00081190"]["Value"][0].startswith("https://images.example/gantry/dicomweb/studies/")


@pytest.mark.parametrize("host", ["a b", "x/y", "a@b", "[::1", "x:port", "ä"])
def test_a_host_header_that_is_none_is_refused(filled: Service, host: str) -> None:
    """S-59."""
    request = f"GET /dicomweb{url(SLICES[0])}/metadata HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    assert b" 400 " in filled.raw(request.encode()).split(b"\r\n")[0]


def test_metadata_is_compressed_where_the_client_takes_it(filled: Service) -> None:
    path = f"/studies/{uid('study', 'slices')}/metadata"
    with filled.client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
        packed = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    plain = filled.get(path, Accept_Encoding="identity")
    assert gzip.decompress(packed) == plain.content
    assert "content-encoding" not in plain.headers
    assert answer.headers["etag"] != plain.headers["etag"]
    assert "Accept-Encoding" in plain.headers["vary"]


def test_frames_are_never_compressed(filled: Service) -> None:
    """viewers.md: Cornerstone3D compares Content-Length with what it received."""
    for path, accept in BODIES[:7]:
        assert "content-encoding" not in filled.get(path, accept, Accept_Encoding="gzip, br").headers


# ---------------------------------------------------------------- frames


def test_frames_come_in_the_order_asked(filled: Service) -> None:
    """WADO-03, WADO-13; repeats allowed."""
    answer = filled.get(url(FRAMES) + "/frames/20,1,7,7", "multipart/related; type=application/octet-stream")
    parts = parts_of(answer)
    stack = np.frombuffer(FRAMES.PixelData, "<u2").reshape(20, 16, 16)
    assert [body for _, body in parts] == [stack[number - 1].tobytes() for number in (20, 1, 7, 7)]
    assert parts[0][0]["content-type"] == f"application/octet-stream; transfer-syntax={ELE}"
    assert parts[0][0]["content-location"] == f"{filled.url}{url(FRAMES)}/frames/20"
    assert answer.headers["cache-control"] == "private, max-age=86400, immutable"


def test_compressed_frames_as_stored_and_decoded(filled: Service) -> None:
    """TS-01, TS-03, TS-12, NEG-08, NEG-09."""
    stored = parts_of(filled.get(url(RLE) + "/frames/1,2,3", f"{OCTETS}; transfer-syntax=*"))
    assert {headers["content-type"] for headers, _ in stored} == {
        f"application/octet-stream; transfer-syntax={RLELossless}"
    }
    own = parts_of(filled.get(url(RLE) + "/frames/1", 'multipart/related; type="image/dicom-rle"'))
    assert own[0][0]["content-type"] == f"image/dicom-rle; transfer-syntax={RLELossless}"
    assert own[0][1] == stored[0][1]
    decoded = parts_of(filled.get(url(RLE) + "/frames/1,2,3", OCTETS))
    assert b"".join(body for _, body in decoded) == RLE.PixelData


def test_one_frame_as_a_single_part(filled: Service) -> None:
    """MT-03."""
    answer = filled.get(url(FRAMES) + "/frames/1", "application/octet-stream; transfer-syntax=*")
    assert answer.headers["content-type"] == f"application/octet-stream; transfer-syntax={ELE}"
    assert answer.content == FRAMES.PixelData[:512]
    assert filled.get(url(FRAMES) + "/frames/1,2", "application/octet-stream").status_code == 406


def test_big_endian_frames_leave_in_little_endian(filled: Service) -> None:
    """GEN-13."""
    ((_, body),) = parts_of(filled.get(url(BIG_SLICE) + "/frames/1"))
    assert body == BIG_SLICE.PixelData
    ((_, body),) = parts_of(filled.get(url(BIG_SLICE) + "/bulkdata/7FE00010", OCTETS))
    assert body == BIG_SLICE.PixelData


@pytest.mark.parametrize("numbers", ["0", "-1", "x", "1,,2", "1.5", "1,0", "", "%31x", "1%2C", "٣"])
def test_malformed_frame_lists_are_refused(filled: Service, numbers: str) -> None:
    """WADO-14."""
    answer = filled.get(f"{url(FRAMES)}/frames/{numbers}")
    assert answer.status_code in ((404,) if numbers == "" else (400,))


def test_a_frame_beyond_the_last_is_not_found_before_any_is_sent(filled: Service) -> None:
    """WADO-14."""
    assert filled.get(url(FRAMES) + "/frames/1,21").status_code == 404


def test_long_frame_lists_are_streamed_and_their_length_is_known_before(filled: Service) -> None:
    """GEN-08, GEN-20, WADO-03: a part of 6000 frames takes as little as those that are in it."""
    path = f"{url(FRAMES)}/frames/{','.join(['1', '20'] * 3000)}"
    length = int(filled.client.head(path).headers["content-length"])
    answer = filled.get(path)
    assert int(answer.headers["content-length"]) == len(answer.content) == length
    assert len(parts_of(answer)) == 6000
    last = filled.get(path, Range=f"bytes={length - 5000}-")
    assert (last.status_code, last.content) == (206, answer.content[-5000:])


def test_a_frame_list_without_measure_is_refused(filled: Service) -> None:
    """S-56 in spirit: one more than 10,000."""
    answer = filled.get(f"{url(FRAMES)}/frames/{','.join(['1'] * 10_001)}")
    assert answer.status_code == 400, answer.status_code


def test_frames_of_a_video_point_to_its_rendered_form(filled: Service) -> None:
    """viewers.md: frames of a video are 406, with a link."""
    answer = filled.get(url(FILM) + "/frames/1")
    assert answer.status_code == 406
    assert answer.headers["link"] == f'<{filled.url}{url(FILM)}/rendered>; rel="alternate"'


# ---------------------------------------------------------------- bulk data


def test_an_encapsulated_document_has_its_own_type_and_no_padding(filled: Service) -> None:
    """WADO-17."""
    answer = filled.get(url(LETTER) + "/bulkdata/00420011")
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"].startswith("inline; filename=")
    assert answer.content == b"%PDF-1.4 a letter of odd length\n%%EOF"
    ((_, body),) = parts_of(filled.get(url(LETTER) + "/bulkdata/00420011", OCTETS))
    assert body == answer.content


def test_a_document_that_could_run_is_saved_and_not_shown(filled: Service) -> None:
    """S-20, S-60."""
    answer = filled.get(url(PAGE) + "/bulkdata/00420011")
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_media_type_from_a_file_reaches_no_header_as_it_is(filled: Service) -> None:
    """S-58."""
    answer = filled.get(url(BROKEN_TYPE) + "/bulkdata/00420011")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "a/b"
    assert "set-cookie" not in answer.headers


# ---------------------------------------------------------------- deletion


def test_deleted_instances_are_in_no_answer(service: Service) -> None:
    service.store(*FILES, part10_bytes(FRAMES))
    assert service.client.delete(url(SLICES[0])).status_code == 204
    assert service.get(url(SLICES[0])).status_code == 410
    assert service.get("/instances").headers["x-total-count"] == "5"
    assert service.client.delete(f"/studies/{uid('study', 'slices')}").status_code == 204
    assert service.get(f"/studies/{uid('study', 'slices')}/metadata").status_code == 410
    series = f"/studies/{uid('study', 'frames')}/series/{uid('series', 'frames', 1)}"
    assert service.client.delete(series).status_code == 204
    assert service.get("/studies").status_code == 204
    assert service.client.delete(series).status_code == 410
    assert service.client.delete("/studies/../x").status_code in (400, 404, 405)
