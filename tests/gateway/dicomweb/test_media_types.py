"""Negotiation: what real clients send, and what the standard says of it (conformance.md A.1 to A.5)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dicomweb import offers
from gateway.dicomweb.media_types import (
    MediaRange,
    Offer,
    acceptable,
    choose,
    negotiate,
    parse,
    parse_content_type,
)
from gateway.errors import BadRequest, NotAcceptable

ELE = "1.2.840.10008.1.2.1"
JPEG = "1.2.840.10008.1.2.4.50"
LOSSLESS = "1.2.840.10008.1.2.4.70"
JLS = "1.2.840.10008.1.2.4.80"
J2K = "1.2.840.10008.1.2.4.90"
HTJ2K = "1.2.840.10008.1.2.4.202"

NATIVE_FRAME = offers.frames(ELE, explicit=True, single=True)
BROWSER = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
OCTETS = 'multipart/related; type="application/octet-stream"'


def pick(header: str | None, on_offer: list[Offer] | tuple[Offer, ...], query: str | None = None) -> str:
    return str(negotiate(acceptable(header, query), on_offer))


@pytest.mark.parametrize(
    "header",
    [
        "application/dicom+json",
        "application/dicom+json, application/json",
        "application/dicom+json, multipart/related; type=application/octet-stream; transfer-syntax=*",
        "application/dicom+json, multipart/related; type=application/octet-stream;transfer-syntax=*; transfer-syntax=*",
        "*/*",
        None,
        "",
        "application/json, text/plain, */*",
        "Application/DICOM+JSON ; charset=utf-8",
        BROWSER,
    ],
)
def test_metadata_and_searches_are_json_for_every_client(header: str | None) -> None:
    """MT-02, MT-06; viewers.md 3."""
    assert pick(header, offers.METADATA) == "application/dicom+json"


def test_plain_json_is_answered_as_plain_json() -> None:
    """NEG-14."""
    assert pick("application/json", offers.METADATA) == "application/json"


@pytest.mark.parametrize("query", ["application/dicom+json", "application/dicom json"])
def test_the_accept_parameter_survives_an_unescaped_plus(query: str) -> None:
    assert pick("*/*", offers.METADATA, query) == "application/dicom+json"


@pytest.mark.parametrize(
    "header",
    [
        "multipart/related; type=application/octet-stream; transfer-syntax=*",
        'multipart/related; type="application/octet-stream"; transfer-syntax="*"',
        'multipart/related;type="application/octet-stream";transfer-syntax=1.2.840.10008.1.2.1',
        OCTETS,
        "*/*",
        None,
    ],
)
@pytest.mark.parametrize("stored", [ELE, "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"])
def test_native_frames_are_octets_in_explicit_little_endian(header: str | None, stored: str) -> None:
    """TS-01, GEN-13."""
    found = pick(header, offers.frames(stored, explicit=True, single=False))
    assert found == f"{OCTETS}; transfer-syntax={ELE}"


@pytest.mark.parametrize(
    ("header", "stored", "expected"),
    [
        (
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            J2K,
            f"{OCTETS}; transfer-syntax={J2K}",
        ),
        (OCTETS, J2K, f"{OCTETS}; transfer-syntax={ELE}"),
        (OCTETS, JPEG, f"{OCTETS}; transfer-syntax={ELE}"),
        (f"{OCTETS}; transfer-syntax={ELE}", J2K, f"{OCTETS}; transfer-syntax={ELE}"),
        (f"{OCTETS}; transfer-syntax={J2K}", J2K, f"{OCTETS}; transfer-syntax={J2K}"),
        (
            'multipart/related; type="image/jls"; transfer-syntax="1.2.840.10008.1.2.4.80"; transfer-syntax="*"',
            JLS,
            f'multipart/related; type="image/jls"; transfer-syntax={JLS}',
        ),
        (
            'multipart/related; type="image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"',
            JPEG,
            f'multipart/related; type="image/jpeg"; transfer-syntax={JPEG}',
        ),
        (
            f'multipart/related; type="image/jphc"; transfer-syntax={HTJ2K}',
            HTJ2K,
            f'multipart/related; type="image/jphc"; transfer-syntax={HTJ2K}',
        ),
        (
            f'multipart/related; type="image/jhc"; transfer-syntax={HTJ2K}',
            HTJ2K,
            f'multipart/related; type="image/jphc"; transfer-syntax={HTJ2K}',
        ),
        ("image/jphc", HTJ2K, f"image/jphc; transfer-syntax={HTJ2K}"),
        ('multipart/related; type="image/x-jls"', JLS, f'multipart/related; type="image/jls"; transfer-syntax={JLS}'),
        (
            'multipart/related; type="image/dicom+jpeg"; transfer-syntax=*',
            LOSSLESS,
            f'multipart/related; type="image/jpeg"; transfer-syntax={LOSSLESS}',
        ),
        (
            'multipart/related; type="image/x-dicom-rle"',
            "1.2.840.10008.1.2.5",
            'multipart/related; type="image/dicom-rle"; transfer-syntax=1.2.840.10008.1.2.5',
        ),
        ('multipart/related; type="image/jpx"', J2K, f'multipart/related; type="image/jpx"; transfer-syntax={J2K}'),
        ("application/octet-stream; transfer-syntax=*", J2K, f"application/octet-stream; transfer-syntax={J2K}"),
        ("*/*", J2K, f"{OCTETS}; transfer-syntax={J2K}"),
        (None, JPEG, f"{OCTETS}; transfer-syntax={JPEG}"),
    ],
)
def test_compressed_frames(header: str | None, stored: str, expected: str) -> None:
    """TS-02 to TS-08, NEG-08, NEG-09; viewers.md 3."""
    assert pick(header, offers.frames(stored, explicit=True, single=True)) == expected


def test_the_accept_parameter_asks_without_a_header() -> None:
    """viewers.md 3: `?accept=image/jhc`."""
    found = pick("*/*", offers.frames(HTJ2K, explicit=True, single=True), "image/jhc")
    assert found == f"image/jphc; transfer-syntax={HTJ2K}"


@pytest.mark.parametrize(
    ("header", "stored", "expected"),
    [
        ('multipart/related; type="application/dicom"', ELE, ELE),
        ('multipart/related; type="application/dicom"', "1.2.840.10008.1.2", ELE),
        ('multipart/related; type="application/dicom"', J2K, ELE),
        ('multipart/related; type="application/dicom"', JPEG, JPEG),  # lossy data are not blown up: NEG-09
        ('multipart/related; type="application/dicom"; transfer-syntax=*', J2K, J2K),
        ('multipart/related; type="application/dicom"; transfer-syntax=*', "1.2.840.10008.1.2", ELE),
        ("*/*", J2K, J2K),
        (None, J2K, J2K),
        ('multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1', JPEG, ELE),
        (
            'multipart/related;type="application/dicom";transfer-syntax=1.2.840.10008.1.2.1;q=0.9,'
            f'multipart/related;type="application/dicom";transfer-syntax={LOSSLESS}',
            LOSSLESS,
            LOSSLESS,
        ),
        (
            'multipart/related;type="application/dicom";transfer-syntax=1.2.840.10008.1.2.1;q=0.9,'
            f'multipart/related;type="application/dicom";transfer-syntax={LOSSLESS}',
            JLS,
            ELE,
        ),
    ],
)
def test_instances(header: str | None, stored: str, expected: str) -> None:
    """MT-01, NEG-05, NEG-08, NEG-09, GEN-13."""
    found = pick(header, offers.instances(stored, explicit=True, single=False))
    assert found == f'multipart/related; type="application/dicom"; transfer-syntax={expected}'


def test_without_a_transfer_syntax_the_setting_may_give_the_stored_one() -> None:
    found = pick('multipart/related; type="application/dicom"', offers.instances(J2K, explicit=False, single=False))
    assert found.endswith(f"transfer-syntax={J2K}")


def test_a_single_part_is_for_one_instance_only() -> None:
    """NEG-12."""
    header = "application/dicom; transfer-syntax=*"
    assert (
        pick(header, offers.instances(ELE, explicit=True, single=True)) == f"application/dicom; transfer-syntax={ELE}"
    )
    with pytest.raises(NotAcceptable):
        pick(header, offers.instances(ELE, explicit=True, single=False))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("image/jpeg", "image/jpeg"),
        ("image/png", "image/png"),
        ("image/gif", "image/gif"),
        ("image/jpeg, */*;q=0.1", "image/jpeg"),
        (BROWSER, "image/jpeg"),
        ("image/png, image/jpeg;q=0.9", "image/png"),
        ("image/jpeg;q=0, image/*", "image/png"),
        (None, "image/jpeg"),
    ],
)
def test_rendered_pictures(header: str | None, expected: str) -> None:
    """RT-01, NEG-05."""
    assert pick(header, offers.rendered(several=False)) == expected


def test_a_picture_without_credentials_asks_by_parameter() -> None:
    assert pick(BROWSER, offers.rendered(several=False), "image/png") == "image/png"


def test_the_accept_parameter_is_subordinate_to_the_header() -> None:
    """GEN-06."""
    assert pick("image/jpeg", offers.rendered(several=False), "image/png") == "image/jpeg"
    assert pick("image/*", offers.rendered(several=False), "image/png") == "image/png"
    assert pick("*/*", offers.rendered(several=False), "image/*") == "image/jpeg"


def test_nothing_acceptable_lists_what_is_on_offer() -> None:
    """SC-406."""
    with pytest.raises(NotAcceptable) as refusal:
        negotiate(acceptable("video/mp4", None), NATIVE_FRAME, ELE)
    assert refusal.value.stored == ELE
    assert f"{OCTETS}; transfer-syntax={ELE}" in refusal.value.offered


def test_dicom_and_rendered_types_do_not_mix() -> None:
    """NEG-02."""
    with pytest.raises(BadRequest):
        pick("application/dicom, text/html", NATIVE_FRAME)


def test_q_zero_excludes_and_the_default_is_gone_with_it() -> None:
    """NEG-05, NEG-06: `*/*` is the default type of the category, not anything."""
    assert choose(acceptable("application/dicom+json;q=0, */*", None), offers.METADATA) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b;q=0.5", [MediaRange("a/b", quality=0.5)]),
        ("a/b;q=nonsense, c/d;q=7", [MediaRange("a/b"), MediaRange("c/d")]),
        ("nonsense, , ;;, a/b;;x", [MediaRange("a/b")]),
        ('multipart/related; TYPE="A/B"; Transfer-Syntax="1.2"', [MediaRange("a/b", True, ("1.2",))]),
        ("multipart/related", [MediaRange("*/*", True)]),
        ('a/b; note="x, y; q=0", c/d', [MediaRange("a/b"), MediaRange("c/d")]),
        ('a/b; note="open, c/d', [MediaRange("a/b"), MediaRange("c/d")]),
    ],
)
def test_what_is_malformed_is_left_out(text: str, expected: list[MediaRange]) -> None:
    """NEG-03."""
    assert list(parse(text)) == expected


def test_a_storm_of_media_ranges_is_refused_at_once() -> None:
    """S-55."""
    begun = time.perf_counter()
    for header in (",".join(f"a/b{number};q=0.1" for number in range(10_000)), '"' * 16_000, "," * 16_000):
        with pytest.raises(NotAcceptable):
            pick(header, offers.METADATA)
    assert time.perf_counter() - begun < 0.1


@given(st.text(alphabet='abimge/+*;,=" q0.1\\typ', max_size=200))
def test_no_header_breaks_the_parser(header: str) -> None:
    for one in parse(header):
        assert 0 <= one.quality <= 1
        assert "/" in one.media_type
    parse_content_type(header)


@given(
    st.lists(
        st.builds(
            MediaRange,
            st.sampled_from(["*/*", "application/octet-stream", "image/jp2", "image/*", "application/dicom"]),
            st.booleans(),
            st.sampled_from([(), ("*",), (ELE,), (J2K,), (J2K, "*")]),
            st.sampled_from([0.0, 0.3, 1.0]),
        )
    )
)
def test_a_chosen_offer_is_always_covered_by_a_range_that_accepts_it(ranges: list[MediaRange]) -> None:
    found = choose([ranges], offers.frames(J2K, explicit=True, single=True))
    if found is not None:
        assert any(
            one.quality > 0
            and (
                one.media_type in ("*/*", found.media_type) or one.media_type[:-1] == found.media_type[: len("image/")]
            )
            for one in ranges
        )


def test_content_types_are_read_with_their_parameters() -> None:
    text = 'Multipart/Related; boundary="a;b"; type="application/dicom"; boundary=c'
    assert parse_content_type(text) == ("multipart/related", {"boundary": "a;b", "type": "application/dicom"})
