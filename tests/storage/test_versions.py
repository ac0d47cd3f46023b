"""Versions and the keys made of them."""

from __future__ import annotations

import time
import uuid

from storage.versions import instance_of, new_version, object_key, version_of, version_time


def test_a_version_is_a_uuid_of_version_7_that_tells_its_time() -> None:
    version = new_version()
    assert uuid.UUID(version).version == 7
    assert abs(version_time(version) - time.time()) < 5


def test_versions_of_one_process_sort_in_the_order_they_were_made() -> None:
    versions = [new_version() for _ in range(20_000)]
    assert versions == sorted(set(versions))


def test_a_key_holds_no_uid_and_gives_its_version_back() -> None:
    """S-21"""
    version = new_version()
    key = object_key("1.2.3/../../etc", version)
    assert ".." not in key and "1.2.3" not in key
    assert version_of(key) == version
    assert instance_of(key) == instance_of(object_key("1.2.3/../../etc", new_version()))
    assert instance_of(key) != instance_of(object_key("1.2.4", version))
