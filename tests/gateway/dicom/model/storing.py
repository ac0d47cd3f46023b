"""Metadata and bulk data stored in memory, and read back as the gateway would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

from gateway.dicom.model import Model, ModelElement
from gateway.dicom.model.bulk_parts import BulkPart
from gateway.dicom.model.values import encode
from gateway.dicom.model.writer import Decode, write
from gateway.dicom.part10 import FileMeta, build_head
from tests.gateway.dicom.opened import Opened

CLASS = "1.2.840.10008.5.1.4.1.1.7"
INSTANCE = "1.2.3.4.5"


class Sink:
    """What a data set is written to: a file in memory."""

    def __init__(self) -> None:
        self.meta: FileMeta | None = None
        self._file = BytesIO()
        self.longest = 0

    def begin(self, meta: FileMeta) -> None:
        self.meta = meta
        self._file.write(build_head(meta))

    def write(self, data: bytes | memoryview) -> None:
        self.longest = max(self.longest, len(data))
        self._file.write(data)

    @property
    def data(self) -> bytes:
        return self._file.getvalue()


def minimal(*elements: tuple[int, str, Sequence[object]]) -> Model:
    """A data set with its UIDs and these elements: tag, VR, values."""
    model: Model = {0x00080016: ModelElement("UI", CLASS.encode()), 0x00080018: ModelElement("UI", INSTANCE.encode())}
    for tag, vr, values in elements:
        model[tag] = ModelElement(vr, encode(tag, vr, values))
    return model


def stored(
    model: Model, bulk: Mapping[str, Sequence[BulkPart]] | None = None, *, decode: Decode | None = None
) -> Opened:
    """The instance as it would be kept."""
    sink = Sink()
    write(model, bulk or {}, sink, decode=decode)
    return Opened(sink.data)
