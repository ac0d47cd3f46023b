"""Each limit of docs/limits.md has its setting or its module, with the value that stands there, and a test one over."""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from gateway.settings import Settings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "limits.md"

_WEB, _HTTP, _DIMSE, _DICOM, _RENDER = (
    f"gateway/{name}/test_" for name in ("dicomweb", "http", "dimse", "dicom", "render")
)
OVER = {
    "one instance": f"{_DIMSE}store:an_object_beyond_the_limit_is_refused_and_read_to_its_end "
    f"{_WEB}stow:too_large_an_instance_fails_by_itself",
    "native Pixel Data written in": f"{_DICOM}transcode:more_than_4_gib_of_pixels_are_refused_before_they_are_written",
    "one STOW-RS request": f"{_WEB}stow:too_large_a_request_is_refused_before_it_is_read",
    "bytes being received": "faults/test_overload:the_budget_of_bytes_holds_at_both_doors",
    "STOW-RS requests at the same": "faults/test_overload:requests_beyond_the_bound_are_told_to_come_again",
    "parts of a multipart request": f"{_WEB}multipart:a_million_parts_are_refused",
    "headers of one part": f"{_WEB}multipart:endless_preamble_epilogue_and_headers_are_refused_at_once",
    "wrong passwords": f"{_HTTP}limiter:guessing_passwords_ends_for_who_guesses "
    f"{_HTTP}limiter:guessing_tokens_is_answered_by_429_and_a_right_one_still_taken "
    f"{_DIMSE}guard:guessing_identities_ends_for_who_guesses",
    "DELETE requests": "end_to_end/test_undelete:who_deletes_all_is_held_up_and_all_of_it_comes_back",
    "requests a second": f"{_HTTP}limiter:callers_have_a_rate_of_requests_where_one_is_set",
    "nesting of sequences": f"{_DICOM}elements:nesting_is_bounded",
    "elements and items": f"{_DICOM}elements:a_million_of_anything_ends_at_the_budget",
    "fragments of Pixel Data": f"{_DICOM}elements:the_number_of_fragments_is_bounded",
    "File Meta Information": f"{_DICOM}part10:a_head_is_bounded",
    "a deflated data set": f"{_DICOM}header:a_bomb_is_not_inflated",
    "memory for decoding": "end_to_end/test_decoders:a_decoder_that_may_not_take_the_memory_it_needs "
    "end_to_end/test_decoders:a_decoder_that_hangs_and_one_that_is_killed",
    "overlay data": f"{_RENDER}long_values:what_is_longer_than_anybody_needs_is_taken_for_none",
    "pixels of a rendered picture": f"{_WEB}rendered:ill_formed_parameters_are_refused_by_name",
    "pixels of all frames": f"{_WEB}kinds:a_moving_picture_has_its_limit",
    "a drawn waveform": f"{_RENDER}hostile:what_is_longer_than_a_drawing_takes_is_told_in_it",
    "text of one content item": f"{_RENDER}hostile:a_text_without_end_is_cut",
    "frames in one request": f"{_WEB}wado:a_frame_list_without_measure_is_refused",
    "results of one search": f"{_WEB}qido:an_endless_limit_is_capped",
    "data sets read for one search": f"{_WEB}qido_matching:"
    "a_search_that_has_to_read_too_much_is_refused_and_says_how_to_narrow_it",
    "words of a fuzzy key": f"{_WEB}qido:what_is_malformed_is_refused_by_name",
    "request line and headers": f"{_HTTP}protocol:an_endless_head_is_431 {_HTTP}protocol:endless_trailers_are_refused",
    "ranges of one request": f"{_WEB}wado:a_storm_of_ranges_gets_the_whole",
    "query parameters": f"{_WEB}qido:what_is_malformed_is_refused_by_name {_WEB}service:a_uri_that_is_too_long",
    "media ranges": f"{_WEB}media_types:a_storm_of_media_ranges_is_refused_at_once",
    "a list of UIDs": "storage/test_query:a_list_of_ten_thousand_and_one_uids_is_refused",
    "wild cards in a key": f"{_WEB}qido:what_is_malformed_is_refused_by_name {_DIMSE}find:storms_of_wild_cards",
    "open associations": f"{_DIMSE}negotiation:one_association_too_many_is_rejected_at_once",
    "connections that have not": f"{_DIMSE}hostile:the_oldest_of_too_many_waiting_peers_makes_room",
    "a PDU before negotiation": f"{_DIMSE}hostile:a_request_of_four_gigabytes_is_not_believed "
    f"{_DIMSE}hostile:a_command_set_that_never_ends_aborts {_DIMSE}hostile:an_identifier_that_never_ends_aborts",
    "a request body that stands": f"{_WEB}stow:a_part_that_is_announced_and_never_sent_is_given_up "
    f"{_WEB}stow:a_sender_that_trickles_is_given_up",
    "the head of an HTTP request": f"{_HTTP}protocol:a_head_that_does_not_end_is_408 "
    f"{_HTTP}protocol:a_connection_that_says_nothing_is_closed",
    "an answer that the client": f"{_HTTP}protocol:a_response_that_nobody_takes_is_given_up",
    "one statement of a search": "storage/index/test_slow:a_search_has_a_limit "
    f"{_WEB}qido:a_search_that_takes_too_long_is_503",
    "connection to whole": f"{_DIMSE}hostile:one_byte_now_and_then_does_not_keep_a_place "
    f"{_DIMSE}tls:silent_and_strange_clients_hold_nobody_up",
    "one PDU, and the next": f"{_DIMSE}hostile:a_peer_that_falls_silent_in_a_data_set_leaves_nothing",
    "between two messages": f"{_DIMSE}hostile:an_idle_association_is_aborted",
    "work in flight at a stop": f"{_DIMSE}stop:what_is_not_done_in_time_is_given_up",
    "one call to the S3 server": "storage/objects/test_s3:"
    "a_server_that_stopped_costs_no_more_than_the_budget_and_is_back_at_once",
}
"""Tests, as `file:name`, by the words with which a row begins."""

UNTESTED = {
    "one decoded frame": "half a gigabyte of it takes more of the machine than it shows; headers that lie are tested",
    "pictures of a video": "two million pictures take minutes to make",
    "an HTTP connection without": "it takes longer than a minute",
}
"""What no test goes beyond, and why."""

_UNITS = {"B": 1, "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def rows() -> list[tuple[str, str]]:
    """What is limited, and the words about the limit."""
    lines = [line for line in DOCS.read_text("utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return [(row[0], row[1]) for row in cells if row[0] not in ("what", "---")]


@cache
def functions(file: str) -> frozenset[str]:
    """The tests of a file."""
    tree = ast.parse((ROOT / "tests" / f"{file}.py").read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("what", [what for what, _ in rows()])
def test_a_test_goes_beyond_the_limit(what: str) -> None:
    """S-56 in spirit: who adds a row adds a test, and a test that is renamed or gone is missed here."""
    begins = [words for words in (*OVER, *UNTESTED) if what.startswith(words)]
    assert len(begins) == 1, f"{what}: {len(begins)} entries"
    for test in OVER.get(begins[0], "").split():
        file, _, name = test.partition(":")
        assert f"test_{name}" in functions(file), f"{what}: {test} is not there"


def test_no_entry_is_left_over() -> None:
    """Of a row that has gone."""
    assert [words for words in (*OVER, *UNTESTED) if not any(what.startswith(words) for what, _ in rows())] == []


@pytest.mark.parametrize("words", [words for _, words in rows()])
def test_the_limit_is_the_one_of_its_setting_or_module(words: str) -> None:
    """A name in the second column is a setting with that default, or a module of ours."""
    for name, said in re.findall(r"`([a-z_.]+)`(?:, ([0-9.,]+(?: (?:GiB|MiB|KiB))?))?", words):
        if "." in name:
            import_module(name)
            continue
        default = Settings.model_fields[name].default
        if said:
            number, _, unit = said.replace(",", "").partition(" ")
            assert float(number) * _UNITS.get(unit, 1) == default, (name, said, default)
