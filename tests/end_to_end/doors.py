"""What a client does at the doors of a gateway: instances in by C-STORE and STOW-RS, out by WADO-RS, questions by both.

Instances go in byte for byte: no library encodes them again on their way.
"""

from __future__ import annotations

import json
import socket
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Self

import httpx
from pydicom import dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
)

from gateway.dicom.part10 import FileMeta, build_head
from tests.gateway.dicomweb.service import STOW_TYPE, parts_of, stow_body
from tests.gateway.dimse.wire import P_DATA, Wire, pdv, store_command
from tests.parts import once
from tests.parts.files import SampleFile, dataset_bytes
from tests.parts.gateway import GatewayProcess
from tests.parts.torture import patience

PATIENT_ROOT = PatientRootQueryRetrieveInformationModelFind
STUDY_ROOT = StudyRootQueryRetrieveInformationModelFind
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""Accept of a WADO-RS request for the bytes as they are kept."""

FRAGMENT = 100_000
"""Bytes of a data set in one P-DATA-TF PDU; the gateway takes more."""


@dataclass(frozen=True, slots=True)
class Instance:
    """What a C-STORE needs: the UIDs that its command names, the transfer syntax, and the encoded data set."""

    sop_class_uid: str
    sop_uid: str
    transfer_syntax_uid: str
    data: bytes

    @classmethod
    def of(cls, file: bytes | SampleFile) -> Self:
        """That of a DICOM file."""
        if isinstance(file, SampleFile):
            return cls(file.sop_class_uid, file.sop_uid, file.transfer_syntax_uid, file.dataset_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the data set, which does not matter here
            meta = dcmread(BytesIO(file), stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).file_meta
        sop_class_uid, sop_uid = str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID)
        return cls(sop_class_uid, sop_uid, str(meta.TransferSyntaxUID), dataset_bytes(file))

    def file(self) -> bytes:
        """It as a DICOM file."""
        return build_head(FileMeta(self.sop_class_uid, self.sop_uid, self.transfer_syntax_uid)) + self.data


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a STOW-RS request, its Store Instances Response Module read (PS3.18 I.2).

    `stored` are SOP Instance UIDs, `failed` Failure Reasons by SOP Instance UID, `others` those of parts without one.
    """

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def module(self) -> dict[str, Any]:
        """The body."""
        found = json.loads(self.text)
        assert isinstance(found, dict)
        return found

    @property
    def stored(self) -> list[str]:
        """What is kept."""
        return [one["00081155"]["Value"][0] for one in self._items("00081199")]

    @property
    def failed(self) -> dict[str, int]:
        """What is not, where it has a SOP Instance UID."""
        return {one["00081155"]["Value"][0]: one["00081197"]["Value"][0] for one in self._items("00081198")}

    @property
    def others(self) -> list[int]:
        """What else is not."""
        return [one["00081197"]["Value"][0] for one in self._items("0008119A")]

    def _items(self, tag: str) -> list[dict[str, Any]]:
        return list(self.module.get(tag, {}).get("Value", []))


class Doors:
    """Both doors of a gateway. Use as a context."""

    def __init__(self, gateway: GatewayProcess, *, seconds: float = 60.0) -> None:
        self.gateway = gateway
        self.web = once.client(base_url=gateway.dicomweb_url, timeout=seconds * patience())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.web.close()

    # ------------------------------------------------------------ in

    def c_store(self, instances: Iterable[Instance | bytes]) -> list[int]:
        """The status of each C-STORE, in order; up to 100 presentation contexts to an association."""
        sent = [one if isinstance(one, Instance) else Instance.of(one) for one in instances]
        pairs = list(dict.fromkeys((one.sop_class_uid, one.transfer_syntax_uid) for one in sent))
        statuses: dict[int, int] = {}
        for some in batched_pairs(pairs):
            numbers = {pair: 2 * place + 1 for place, pair in enumerate(some)}
            with Wire((self.gateway.host, self.gateway.dimse_port), 60) as wire:
                wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                wire.associate([(number, sop_class, (syntax,)) for (sop_class, syntax), number in numbers.items()])
                for place, one in enumerate(sent):
                    pair = (one.sop_class_uid, one.transfer_syntax_uid)
                    if pair in numbers:
                        statuses[place] = send(wire, one, numbers[pair])
                wire.release()
        return [statuses[place] for place in range(len(sent))]

    def stow(self, *files: bytes, study: str | None = None) -> Answer:
        """Store files in one multipart request."""
        path = "/studies" if study is None else f"/studies/{study}"
        response = self.web.post(path, content=stow_body(files), headers={"Content-Type": STOW_TYPE})
        return Answer(response.status_code, response.headers, response.text)

    # ------------------------------------------------------------ out

    def retrieve(self, *uids: str) -> list[bytes]:
        """The files of a study, series or instance as they are kept, less what never leaves by the web (GEN-13)."""
        response = self.web.get(resource(*uids), headers={"Accept": AS_STORED})
        response.raise_for_status()
        return [body for _, body in parts_of(response)]

    def get(self, path: str, accept: str = "*/*") -> httpx.Response:
        """One GET below the DICOMweb root."""
        return self.web.get(path, headers={"Accept": accept})

    def delete(self, *uids: str) -> int:
        """The status of deleting a study, series or instance."""
        return self.web.delete(resource(*uids)).status_code

    def empty(self) -> None:
        """Delete all studies."""
        for study in self.qido("/studies"):
            assert self.delete(study["StudyInstanceUID"]) in (200, 204)

    # ------------------------------------------------------------ questions

    def qido(self, path: str, **keys: str | int) -> list[dict[str, Any]]:
        """The matches of a search, each by keyword: its only value, a list of several, None for none."""
        response = self.web.get(path, params=keys)
        if response.status_code == 204:
            return []
        response.raise_for_status()
        return [{keyword_for_tag(tag): plain(element) for tag, element in one.items()} for one in response.json()]

    def c_find(self, model: str, **keys: str) -> list[Dataset]:
        """The matches of a C-FIND, asked with these keys."""
        identifier = Dataset()
        identifier.SpecificCharacterSet = "ISO_IR 192"
        for keyword, value in keys.items():
            setattr(identifier, keyword, value)
        ae = AE("ASKER")
        address = (self.gateway.host, self.gateway.dimse_port)
        association = ae.associate(*address, contexts=[build_context(model)], ae_title=self.gateway.aet)
        assert association.is_established
        try:
            answers = list(association.send_c_find(identifier, model))
        finally:
            association.release()
        assert [status.Status for status, _ in answers[-1:]] == [0], answers[-1:]
        assert {status.Status for status, _ in answers[:-1]} <= {0xFF00, 0xFF01}
        return [match for _, match in answers if match is not None]


def send(wire: Wire, instance: Instance, context_id: int = 1) -> int:
    """The status of a C-STORE on an association that is open."""
    wire.send(P_DATA, pdv(context_id, 3, store_command(instance.sop_uid, instance.sop_class_uid)))
    for start in range(0, max(len(instance.data), 1), FRAGMENT):
        last = 2 if start + FRAGMENT >= len(instance.data) else 0
        wire.send(P_DATA, pdv(context_id, last, instance.data[start : start + FRAGMENT]))
    return wire.status()


def batched_pairs(pairs: Sequence[tuple[str, str]], size: int = 100) -> Iterator[Sequence[tuple[str, str]]]:
    """Not more than fit into one association."""
    for start in range(0, len(pairs), size):
        yield pairs[start : start + size]


def resource(study: str, series: str | None = None, instance: str | None = None) -> str:
    """The path of a study, series or instance."""
    path = f"/studies/{study}"
    if series is not None:
        path += f"/series/{series}"
    return path if instance is None else f"{path}/instances/{instance}"


def plain(element: Mapping[str, Any]) -> Any:
    """The value of an element of the DICOM JSON model; of a person's name its first representation."""
    values = element.get("Value", [])
    if element["vr"] == "PN":
        values = [value.get("Alphabetic", "") if value else "" for value in values]
    return values[0] if len(values) == 1 else values or None
