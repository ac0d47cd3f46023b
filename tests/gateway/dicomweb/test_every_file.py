"""Every readable file of pydicom's and pydicom-data's sets goes in by STOW-RS and comes out byte-identical."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gateway.dicomweb.service import STOW_TYPE as TYPE
from tests.gateway.dicomweb.service import Service, parts_of, serve, stow_body
from tests.parts.files import SampleFile, dataset_bytes, readable_files, refused_files, waves

WAVES = waves(readable_files())
CONVERTED = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.2"})
"""Implicit VR and Big Endian: stored as they are, but they leave as Explicit VR Little Endian (GEN-13)."""


def stored(service: Service, files: list[SampleFile]) -> set[str]:
    """Store them in one request; the SOP Instance UIDs that the answer says are safe."""
    body = stow_body([file.path.read_bytes() for file in files])
    answer = service.client.post("/studies", content=body, headers={"Content-Type": TYPE}, timeout=60)
    sequence = answer.json().get("00081199", {"Value": []})
    return {item["00081155"]["Value"][0] for item in sequence["Value"]}


@pytest.mark.parametrize("number", range(len(WAVES)))
def test_every_readable_file_comes_out_as_it_went_in(tmp_path: Path, number: int) -> None:
    with serve(tmp_path) as service:
        files = WAVES[number]
        assert stored(service, files) == {file.sop_uid for file in files}
        for file in files:
            path = f"/studies/{file.study_uid}/series/{file.series_uid}/instances/{file.sop_uid}"
            ((headers, body),) = parts_of(
                service.get(path, 'multipart/related; type="application/dicom"; transfer-syntax=*')
            )
            if file.transfer_syntax_uid in CONVERTED:
                assert headers["content-type"].endswith("transfer-syntax=1.2.840.10008.1.2.1"), file.name
            else:
                assert dataset_bytes(body) == file.dataset_bytes(), file.name
            (metadata,) = service.get(f"{path}/metadata").json()
            assert metadata["00080018"]["Value"] == [file.sop_uid], file.name
            for resource in ("/rendered", "/thumbnail", "/frames/1"):
                assert service.get(path + resource).status_code in (200, 404, 406), (file.name, resource)


def test_files_that_must_not_be_taken_are_refused(tmp_path: Path) -> None:
    with serve(tmp_path) as service:
        assert stored(service, list(refused_files())) == set()
        assert service.spooled() == []
