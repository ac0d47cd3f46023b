"""Small data sets built in code, the same ones every time: a name for the study, numbers for series and instance.

Any element may be given by its keyword, and None takes one away: `ct_slice(PatientName="Doe^Jane", Modality=None)`.
UIDs are below 2.25 and follow from the names and numbers alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import UID as Uid
from pydicom.uid import (
    BasicTextSRStorage,
    CTImageStorage,
    EncapsulatedPDFStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

Frames = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int16]


def uid(*names: object) -> str:
    """A UID that follows from the names: a UUID-derived one in form (PS3.5 B.2), at most 44 characters."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def sequence_item(**values: object) -> Dataset:
    """A data set with these elements, by keyword; to put into a sequence."""
    return change(Dataset(), values)


def change(ds: Dataset, values: dict[str, Any]) -> Dataset:
    """Set elements by keyword; None takes an element away."""
    for keyword, value in values.items():
        if value is None:
            if keyword in ds:
                delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def instance(
    sop_class: str, modality: str, study: object = "study", series: int = 1, number: int = 1, **values: object
) -> Dataset:
    """The modules that every composite instance has: Patient, General Study, General Series, SOP Common (PS3.3 A.1.2).

    `study` is any name: the same name gives the same study and patient.
    """
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = uid("instance", study, series, number, sop_class)
    ds.StudyInstanceUID = uid("study", study)
    ds.SeriesInstanceUID = uid("series", study, series)
    ds.PatientName = f"Test^{study}"
    ds.PatientID = f"ID-{study}"
    ds.PatientBirthDate = "19700102"
    ds.PatientSex = "O"
    ds.StudyID = "1"
    ds.StudyDate = "20260304"
    ds.StudyTime = "101112"
    ds.AccessionNumber = f"ACC-{study}"
    ds.ReferringPhysicianName = "Referrer^Rita"
    ds.StudyDescription = f"Study {study}"
    ds.Modality = modality
    ds.SeriesNumber = series
    ds.SeriesDescription = f"Series {series}"
    ds.InstanceNumber = number
    ds.ContentDate = "20260304"
    ds.ContentTime = "101213"
    ds.Manufacturer = "Gantry tests"
    return change(ds, values)


def phantom(rows: int, columns: int, number: int = 1) -> NDArray[np.uint16]:
    """A disc on a slope, 12 bits: it differs from slice to slice, and compresses like an image."""
    y, x = np.mgrid[0:rows, 0:columns]
    radius = min(rows, columns) * (0.25 + 0.02 * (number % 8))
    disc = np.hypot(y - rows / 2, x - columns / 2) < radius
    slope = 200 + (x * 500) // max(columns, 1) + (number % 16) * 8
    grey: NDArray[np.uint16] = np.where(disc, slope + 1200, slope).astype(np.uint16)
    return grey


def pixels(ds: Dataset, frames: Frames, photometric: str = "MONOCHROME2", bits_stored: int | None = None) -> Dataset:
    """Put native Pixel Data and its description (PS3.3 C.7.6.3) into a data set.

    `frames` is (rows, columns), (frames, rows, columns), (rows, columns, 3) or (frames, rows, columns, 3): colour when
    `photometric` has three samples. Number of Frames is set for the forms that have frames.
    """
    samples = 1 if photometric.startswith(("MONO", "PALETTE")) else 3
    shape = frames.shape[:-1] if samples == 3 else frames.shape
    if len(shape) == 3:
        ds.NumberOfFrames = shape[0]
    ds.SamplesPerPixel = samples
    ds.PhotometricInterpretation = photometric
    if samples == 3:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = shape[-2:]
    ds.BitsAllocated = frames.dtype.itemsize * 8
    ds.BitsStored = bits_stored or ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(np.issubdtype(frames.dtype, np.signedinteger))
    data = frames.astype(frames.dtype.newbyteorder("<")).tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
    return ds


def ct_slice(
    study: object = "study", series: int = 1, number: int = 1, rows: int = 64, columns: int = 64, **values: object
) -> Dataset:
    """A CT image in Hounsfield units: signed, 16 bits, with rescale, a window, and its place in the patient."""
    ds = instance(CTImageStorage, "CT", study, series, number)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.BodyPartExamined = "CHEST"
    ds.KVP = "120"
    ds.SliceThickness = "2.5"
    ds.FrameOfReferenceUID = uid("frame of reference", study)
    ds.ImagePositionPatient = [-125, -125, 2.5 * number]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [0.7, 0.7]
    ds.RescaleIntercept = "-1024"
    ds.RescaleSlope = "1"
    ds.RescaleType = "HU"
    ds.WindowCenter = "40"
    ds.WindowWidth = "400"
    # Around the disc is air; the disc itself goes through the whole of the window.
    pixels(ds, phantom(rows, columns, number).astype(np.int16) - np.int16(600))
    return change(ds, values)


def mr_slice(
    study: object = "study", series: int = 1, number: int = 1, rows: int = 64, columns: int = 64, **values: object
) -> Dataset:
    """An MR image: unsigned, 12 bits stored in 16, no rescale."""
    ds = instance(MRImageStorage, "MR", study, series, number)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    ds.BodyPartExamined = "HEAD"
    ds.ScanningSequence = "SE"
    ds.SequenceVariant = "NONE"
    ds.MRAcquisitionType = "2D"
    ds.EchoTime = "90"
    ds.RepetitionTime = "4000"
    ds.SliceThickness = "5"
    ds.FrameOfReferenceUID = uid("frame of reference", study)
    ds.ImagePositionPatient = [-100, -100, 5 * number]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [1, 1]
    ds.WindowCenter = "1000"
    ds.WindowWidth = "2000"
    pixels(ds, phantom(rows, columns, number), bits_stored=12)
    return change(ds, values)


def enhanced_mr(
    study: object = "study",
    series: int = 1,
    number: int = 1,
    frames: int = 3,
    rows: int = 32,
    columns: int = 32,
    **values: object,
) -> Dataset:
    """An Enhanced MR image: several frames, with functional groups (PS3.3 C.7.6.16)."""
    ds = instance(EnhancedMRImageStorage, "MR", study, series, number)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.FrameOfReferenceUID = uid("frame of reference", study)
    shared = Dataset()
    shared.PlaneOrientationSequence = [sequence_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]
    shared.PixelMeasuresSequence = [sequence_item(PixelSpacing=[1, 1], SliceThickness="2")]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [
        sequence_item(
            FrameContentSequence=[
                sequence_item(StackID="1", InStackPositionNumber=frame, DimensionIndexValues=[frame])
            ],
            PlanePositionSequence=[sequence_item(ImagePositionPatient=[0, 0, 2 * frame])],
            FrameVOILUTSequence=[sequence_item(WindowCenter="1000", WindowWidth="2000")],
        )
        for frame in range(1, frames + 1)
    ]
    pixels(ds, np.stack([phantom(rows, columns, frame) for frame in range(1, frames + 1)]), bits_stored=12)
    return change(ds, values)


def multi_frame(
    study: object = "study",
    series: int = 1,
    number: int = 1,
    frames: int = 10,
    rows: int = 16,
    columns: int = 16,
    **values: object,
) -> Dataset:
    """A multi-frame grey secondary capture without functional groups: quick to make, also with many frames."""
    ds = instance(MultiFrameGrayscaleWordSecondaryCaptureImageStorage, "OT", study, series, number)
    ds.ConversionType = "SYN"
    ds.FrameIncrementPointer = 0x00181063
    ds.FrameTime = "40"
    pixels(ds, np.stack([phantom(rows, columns, frame) for frame in range(1, frames + 1)]), bits_stored=12)
    return change(ds, values)


def color(
    study: object = "study",
    series: int = 1,
    number: int = 1,
    rows: int = 48,
    columns: int = 64,
    frames: int | None = None,
    **values: object,
) -> Dataset:
    """A colour secondary capture, RGB, 8 bits: one frame, or several when `frames` is given."""
    sop_class = SecondaryCaptureImageStorage if frames is None else MultiFrameTrueColorSecondaryCaptureImageStorage
    ds = instance(sop_class, "OT", study, series, number)
    ds.ConversionType = "SYN"
    y, x = np.mgrid[0:rows, 0:columns]
    picture = np.stack([x * 255 // columns, y * 255 // rows, (x + y + 16 * number) % 256], axis=-1).astype(np.uint8)
    pixels(ds, picture if frames is None else np.stack([np.roll(picture, n, axis=1) for n in range(frames)]), "RGB")
    return change(ds, values)


def segmentation(
    study: object = "study",
    series: int = 1,
    number: int = 1,
    frames: int = 3,
    rows: int = 5,
    columns: int = 7,
    **values: object,
) -> Dataset:
    """A binary segmentation: 1 bit a pixel, frames that do not start on a byte (PS3.5 8.1.1)."""
    ds = instance(SegmentationStorage, "SEG", study, series, number)
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.SegmentationType = "BINARY"
    ds.SegmentSequence = [sequence_item(SegmentNumber=1, SegmentLabel="disc", SegmentAlgorithmType="MANUAL")]
    bits = np.stack([phantom(rows, columns, frame) > 1000 for frame in range(1, frames + 1)]).astype(np.uint8)
    pixels(ds, bits)
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit = 0
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    return change(ds, values)


def report(study: object = "study", series: int = 1, number: int = 1, **values: object) -> Dataset:
    """A Basic Text SR document: no pixels, nested sequences."""
    ds = instance(BasicTextSRStorage, "SR", study, series, number)
    ds.CompletionFlag = "COMPLETE"
    ds.VerificationFlag = "UNVERIFIED"
    title = sequence_item(CodeValue="18782-3", CodingSchemeDesignator="LN", CodeMeaning="Radiology Study observation")
    text = sequence_item(
        RelationshipType="CONTAINS",
        ValueType="TEXT",
        ConceptNameCodeSequence=[
            sequence_item(CodeValue="121071", CodingSchemeDesignator="DCM", CodeMeaning="Finding")
        ],
        TextValue="Nothing to be seen, größtenteils.",
    )
    ds.ValueType = "CONTAINER"
    ds.ConceptNameCodeSequence = [title]
    ds.ContinuityOfContent = "SEPARATE"
    ds.ContentSequence = [text]
    return change(ds, values)


def pdf(
    study: object = "study", series: int = 1, number: int = 1, document: bytes = b"%PDF-1.4\n%%EOF\n", **values: object
) -> Dataset:
    """An encapsulated PDF document: one long value that is no pixels."""
    ds = instance(EncapsulatedPDFStorage, "DOC", study, series, number)
    ds.DocumentTitle = "Document"
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocumentLength = len(document)
    ds.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    return change(ds, values)


def series_of(count: int, study: object = "study", series: int = 1, **values: object) -> list[Dataset]:
    """The slices of a CT series, numbered from 1."""
    return [ct_slice(study, series, number, **values) for number in range(1, count + 1)]  # type: ignore[arg-type]


def encapsulated(
    ds: Dataset, frames: Sequence[bytes], *, fragments: int = 1, table: str = "basic", photometric: str | None = None
) -> Dataset:
    """Put encoded frames in place of the Pixel Data (PS3.5 A.4), each in as many `fragments`.

    `table` is the offset table: `basic`, `extended` (then one fragment a frame) or `empty`. Write the data set with
    the transfer syntax that the frames are in; they are not looked at.
    """
    if table == "extended":
        data, offsets, lengths = encapsulate_extended(list(frames))
        ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = offsets, lengths
    else:
        data = encapsulate(list(frames), fragments_per_frame=fragments, has_bot=table == "basic")
    if len(frames) > 1 or "NumberOfFrames" in ds:
        ds.NumberOfFrames = len(frames)
    ds.PixelData = data
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    if photometric:
        ds.PhotometricInterpretation = photometric
    return ds


def part10_bytes(ds: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The DICOM file of a data set (PS3.10 7.1), encoded in the transfer syntax. The data set given is not changed.

    UIDs that it lacks are made up in the File Meta Information. Native Pixel Data are compressed where the syntax is
    RLE Lossless or JPEG-LS; what `encapsulated` made is kept as it is.
    """
    syntax = Uid(transfer_syntax)
    copy = deepcopy(ds)
    copy.file_meta = FileMetaDataset()
    copy.file_meta.MediaStorageSOPClassUID = Uid(ds.get("SOPClassUID") or uid("no class"))
    copy.file_meta.MediaStorageSOPInstanceUID = Uid(ds.get("SOPInstanceUID") or uid("no instance"))
    copy.file_meta.TransferSyntaxUID = syntax
    native = "PixelData" in ds and not ds["PixelData"].is_undefined_length
    if native and syntax.is_encapsulated:
        copy.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        copy.compress(syntax, generate_instance_uid=False)
    elif native and not syntax.is_little_endian and ds.BitsAllocated > 8:
        copy.PixelData = np.frombuffer(ds.PixelData, f"<u{ds.BitsAllocated // 8}").byteswap().tobytes()
    buffer = BytesIO()
    dcmwrite(buffer, copy, enforce_file_format=True)
    return buffer.getvalue()


def large_file(path: Path, size: int, rows: int = 1024, columns: int = 1024, **values: object) -> Dataset:
    """Write a native multi-frame object of at least `size` bytes (less than 4 GiB) without holding it in memory.

    Gives its data set without Pixel Data. Frame n holds 16-bit values that start with n.
    """
    frame_size = rows * columns * 2
    frames = -(-size // frame_size)
    ds = multi_frame(frames=1, rows=rows, columns=columns, **values)  # type: ignore[arg-type]
    ds.NumberOfFrames = frames
    del ds.PixelData
    with path.open("wb") as file:
        file.write(part10_bytes(ds))
        file.write(b"\xe0\x7f\x10\x00OW\0\0" + (frames * frame_size).to_bytes(4, "little"))
        for chunk in large_frames(frames, rows, columns):
            file.write(chunk)
    return ds


def large_frames(frames: int, rows: int, columns: int) -> Iterator[bytes]:
    """The frames of `large_file`, one by one."""
    frame = np.arange(rows * columns, dtype="<u2")
    for number in range(1, frames + 1):
        frame[0] = number & 0xFFFF
        yield frame.tobytes()


def write_all(folder: Path, datasets: Iterable[Dataset], transfer_syntax: str = ExplicitVRLittleEndian) -> list[Path]:
    """Write each data set into a file of its own, numbered; their paths."""
    paths = []
    for number, ds in enumerate(datasets, 1):
        path = folder / f"{number:05}.dcm"
        path.write_bytes(part10_bytes(ds, transfer_syntax))
        paths.append(path)
    return paths
