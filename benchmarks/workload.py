"""What is stored and asked for: synthetic objects, the same in every run, new UIDs as often as needed.

Every UID has one width, so that an object with other UIDs is made by replacing bytes. An object is its head, with all
that differs from instance to instance, and pixels that several share: 1,000 CT slices take 30 MB of memory, not 530.
"""

from __future__ import annotations

import io
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

ROOT = "1.2.826.0.1.3680043.10.1411"
FIRST = 100_000_000
EXPLICIT = "1.2.840.10008.1.2.1"
JPEG = "1.2.840.10008.1.2.4.50"
CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
_KINDS = {"ct": 1, "enhanced": 2, "slide": 3, "tiny": 4, "cr": 5}
_VARIANTS = 8
_SURNAMES = """
ADAMS BAKER CARTER DAVIS EVANS FISHER GREEN HARRIS IRVING JONES KELLER LOPEZ MILLER NELSON OLSEN PARKER QUINN
ROBERTS SMITH TAYLOR UNGER VARGAS WILSON XAVIER YOUNG ZIMMER ANDERSON BROWN CLARK DIAZ EDWARDS FOSTER GARCIA HUGHES
INGRAM JAMES KING LEWIS MOORE NGUYEN ORTIZ PEREZ QUIGLEY REED SCOTT TURNER UPTON VEGA WRIGHT YATES"""
_GIVEN = """
ANNA BEN CARLA DAVID EMMA FRANK GRACE HENRY IRIS JACK KAREN LEO MARIA NOAH OLGA PAUL QUENTIN ROSA SAM TINA UMA
VICTOR WENDY XENIA YVES ZOE"""
SURNAMES, GIVEN = tuple(_SURNAMES.split()), tuple(_GIVEN.split())


def uid(kind: str, study: int, series: int | None = None, number: int | None = None, nonce: int = FIRST) -> str:
    """The UID of a study, series or instance of the workload."""
    text = f"{ROOT}.{nonce}.1{_KINDS[kind]}.1{study:07d}"
    if series is not None:
        text += f".1{series:02d}"
    return text if number is None else f"{text}.1{number:05d}"


@dataclass(frozen=True, slots=True)
class Instance:
    """One object: a Part 10 file in two pieces, its UIDs, and how many frames it has."""

    study: str
    series: str
    sop: str
    pieces: tuple[bytes, bytes]
    frames: int = 1

    @property
    def path(self) -> str:
        """Of its resource below the DICOMweb root."""
        return f"/studies/{self.study}/series/{self.series}/instances/{self.sop}"

    def renamed(self, nonce: int) -> Instance:
        """The same object as another study, series and instance."""
        old, new = f"{ROOT}.{FIRST}.", f"{ROOT}.{nonce}."
        head, pixels = self.pieces
        study, series, sop = (name.replace(old, new) for name in (self.study, self.series, self.sop))
        return Instance(study, series, sop, (head.replace(old.encode(), new.encode()), pixels), self.frames)


def _file(sop_class: str, study: str, series: str, sop: str, syntax: str) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = UID(sop_class)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = UID(sop)
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
    return ds


def _patient(ds: Dataset, patient: str, name: str, modality: str, text: str) -> None:
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20240315"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101530.123456"
    ds.AccessionNumber, ds.Modality, ds.StudyDescription = f"ACC{patient}", modality, text
    ds.Manufacturer, ds.InstitutionName = "Synthetic Devices", "General Test Hospital"
    ds.ReferringPhysicianName, ds.PatientName, ds.PatientID = "REFERRING^DOC^^DR", name, patient
    ds.PatientBirthDate, ds.PatientSex, ds.StudyID = "19600102", "F", "1"
    ds.SeriesNumber = ds.InstanceNumber = 1


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _written(ds: Dataset, pixels: bytes) -> tuple[bytes, bytes]:
    """The file of `ds` with these pixels, native or encapsulated; they come last in it."""
    encapsulated = str(ds.file_meta.TransferSyntaxUID) != EXPLICIT
    ds.PixelData = pixels
    ds["PixelData"].VR = "OB" if encapsulated else "OW"
    ds["PixelData"].is_undefined_length = encapsulated
    file = io.BytesIO()
    dcmwrite(file, ds, enforce_file_format=True)
    whole = file.getvalue()
    at = len(whole) - len(pixels) - (8 if encapsulated else 0)
    return whole[:at], whole[at:]


def _noise(seed: int, shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(0.0, 1.0, shape)


def _slice_pixels(seed: int, size: int) -> bytes:
    """A body in air, with noise, 12 bits in 16."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    body = (x / 0.8) ** 2 + (y / 0.6) ** 2 < 1
    return (np.where(body, 1064, 24) + 13 * _noise(seed, (size, size))).clip(0, 4095).astype("<u2").tobytes()


def ct_series(slices: int, study: int = 0, size: int = 512) -> list[Instance]:
    """One series of CT slices, each with about 160 elements, as a clinical scanner writes them."""
    pixels = [_slice_pixels(seed, size) for seed in range(_VARIANTS)]
    found = []
    for number in range(slices):
        ds = _ct_slice(study, number, size)
        names = uid("ct", study), uid("ct", study, 0), uid("ct", study, 0, number)
        head, shared = _written(ds, pixels[number % _VARIANTS])
        assert shared == pixels[number % _VARIANTS]
        found.append(Instance(*names, (head, pixels[number % _VARIANTS])))
    return found


def _ct_slice(study: int, number: int, size: int) -> Dataset:
    ds = _file(CT_CLASS, uid("ct", study), uid("ct", study, 0), uid("ct", study, 0, number), EXPLICIT)
    _patient(ds, f"CT{study:06d}", f"SYNTHETIC^CT{study:04d}", "CT", "CT THORAX/ABDOMEN WITH CONTRAST")
    values: dict[str, object] = {
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"],
        "InstanceCreationDate": "20240315",
        "InstanceCreationTime": f"1016{number % 60:02d}.{number:06d}",
        "SeriesDescription": "Thorax-Abdomen 1.0 B30f",
        "StationName": "CTAWP00001",
        "ManufacturerModelName": "Synth CT 64",
        "InstitutionAddress": "1 Test Street, Testville",
        "InstitutionalDepartmentName": "Radiology",
        "PerformingPhysicianName": "PERFORMER^ONE",
        "OperatorsName": "OPERATOR^TWO",
        "PhysiciansOfRecord": "RECORD^THREE",
        "PatientAge": "064Y",
        "PatientSize": "1.68",
        "PatientWeight": "71",
        "OtherPatientIDs": "MRN0012345",
        "EthnicGroup": "NS",
        "PatientComments": "none",
        "PregnancyStatus": 4,
        "AdditionalPatientHistory": "Synthetic subject, no clinical history.",
        "BodyPartExamined": "CHEST",
        "ContrastBolusAgent": "APPLIED",
        "ContrastBolusRoute": "IV",
        "ContrastBolusVolume": "90",
        "ContrastBolusTotalDose": "90",
        "ContrastFlowRate": "3",
        "ContrastFlowDuration": "30",
        "ContrastBolusIngredientConcentration": "350",
        "ScanOptions": "SPIRAL",
        "SliceThickness": "1",
        "KVP": "120",
        "DataCollectionDiameter": "500",
        "ReconstructionDiameter": "382",
        "DeviceSerialNumber": "54321",
        "SoftwareVersions": "VB20A",
        "ProtocolName": "ThorAbd_Routine (Adult)",
        "DistanceSourceToDetector": "1085.6",
        "DistanceSourceToPatient": "595",
        "GantryDetectorTilt": "0",
        "TableHeight": "142.5",
        "RotationDirection": "CW",
        "ExposureTime": "500",
        "XRayTubeCurrent": str(180 + number % 60),
        "Exposure": "112",
        "FilterType": "FLAT",
        "GeneratorPower": "24",
        "FocalSpots": [1.2],
        "DateOfLastCalibration": "20240315",
        "TimeOfLastCalibration": "070000.000000",
        "ConvolutionKernel": "B30f",
        "PatientPosition": "HFS",
        "SingleCollimationWidth": 0.6,
        "TotalCollimationWidth": 19.2,
        "TableSpeed": 46.0,
        "TableFeedPerRotation": 23.0,
        "SpiralPitchFactor": 1.2,
        "CTDIvol": 7.58,
        "ExposureModulationType": "XYZ_EC",
        "EstimatedDoseSaving": 21.5,
        "AcquisitionNumber": 2,
        "InstanceNumber": number + 1,
        "ImagePositionPatient": ["-190.62695", "-333.62695", f"{number - 400.0:.1f}"],
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
        "FrameOfReferenceUID": uid("ct", study, 0, 97000),
        "IrradiationEventUID": uid("ct", study, 0, 96000),
        "PositionReferenceIndicator": "",
        "SliceLocation": f"{number - 400.0:.1f}",
        "ImageComments": "synthetic",
        "PixelSpacing": ["0.74609375", "0.74609375"],
        "SmallestImagePixelValue": 0,
        "LargestImagePixelValue": 4095,
        "WindowCenter": ["50", "-600"],
        "WindowWidth": ["400", "1500"],
        "WindowCenterWidthExplanation": ["MEDIASTINUM", "LUNG"],
        "LossyImageCompression": "00",
        "RequestingPhysician": "REQUEST^FOUR",
        "RequestingService": "ONC",
        "RequestedProcedureDescription": "CT Thorax Abdomen contrast",
        "CurrentPatientLocation": "WARD 7",
        "PerformedProcedureStepStartDate": "20240315",
        "PerformedProcedureStepStartTime": "101500.000000",
        "PerformedProcedureStepID": f"PPS{study:06d}",
        "PerformedProcedureStepDescription": "CT Thorax Abdomen",
        "FillerOrderNumberImagingServiceRequest": "FO123",
    }
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    _matrix(ds, size)
    ds.ProcedureCodeSequence = [_code("CTTHABD", "99LOCAL", "CT Thorax Abdomen")]
    ds.RequestedProcedureCodeSequence = [_code("CTTHABD", "99LOCAL", "CT Thorax Abdomen")]
    ds.CTDIPhantomTypeCodeSequence = [_code("113691", "DCM", "IEC Body Dosimetry Phantom")]
    ds.ReferencedImageSequence = []
    for other in range(3):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT_CLASS, uid("ct", study, 0, 90000 + other)
        item.PurposeOfReferenceCodeSequence = [_code("121311", "DCM", "Localizer")]
        ds.ReferencedImageSequence.append(item)
    asked = Dataset()
    asked.AccessionNumber = ds.AccessionNumber
    asked.RequestedProcedureDescription = asked.ScheduledProcedureStepDescription = "CT Thorax Abdomen contrast"
    asked.ScheduledProtocolCodeSequence = [_code("CTTHABD", "99LOCAL", "CT Thorax Abdomen")]
    asked.ScheduledProcedureStepID, asked.RequestedProcedureID = "SPS1", "RP1"
    ds.RequestAttributesSequence = [asked]
    block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x08, "CS", "SOM 5")
    block.add_new(0x09, "LO", "VB20A 20240315")
    block.add_new(0x10, "OB", bytes(range(256)) * 6)
    block = ds.private_block(0x0021, "SIEMENS MED", create=True)
    for at in range(12):
        block.add_new(0x10 + at, "DS" if at % 2 else "LO", f"{at * 1.5:.2f}" if at % 2 else f"PRIVATE VALUE {at}")
    block = ds.private_block(0x0019, "SIEMENS CT VA0  COAD", create=True)
    for at in range(14):
        block.add_new(0x10 + at, "IS" if at % 3 else "US", str(number + at) if at % 3 else number + at)
    return ds


def _matrix(ds: Dataset, size: int) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", size, size
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"


def radiographs(count: int, size: int = 2048) -> list[Instance]:
    """CR images of 12 bits with a window of their own, each in a series of its own."""
    pixels = [_slice_pixels(seed, size) for seed in range(min(count, 2))]
    found = []
    for number in range(count):
        names = uid("cr", number), uid("cr", number, 0), uid("cr", number, 0, 0)
        ds = _file("1.2.840.10008.5.1.4.1.1.1", *names, EXPLICIT)
        _patient(ds, f"CR{number:06d}", f"SYNTHETIC^CHEST{number}", "CR", "CHEST")
        _matrix(ds, size)
        ds.RescaleIntercept, ds.RescaleType = "0", "US"
        ds.WindowCenter, ds.WindowWidth = "1024", "2048"
        head, shared = _written(ds, pixels[number % len(pixels)])
        assert shared == pixels[number % len(pixels)]
        found.append(Instance(*names, (head, pixels[number % len(pixels)])))
    return found


def enhanced(frames: int, size: int = 512) -> Instance:
    """An Enhanced CT of native frames, each with its own functional groups."""
    names = uid("enhanced", 0), uid("enhanced", 0, 0), uid("enhanced", 0, 0, 0)
    ds = _file("1.2.840.10008.5.1.4.1.1.2.1", *names, EXPLICIT)
    _patient(ds, "ENH000000", "SYNTHETIC^ENHANCED", "CT", "ENHANCED CT")
    _matrix(ds, size)
    ds.NumberOfFrames = frames
    ds.PerFrameFunctionalGroupsSequence = []
    for number in range(frames):
        item, position, content = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = ["-190", "-333", str(number - 400)]
        content.StackID, content.InStackPositionNumber, content.DimensionIndexValues = "1", number + 1, [1, number + 1]
        item.PlanePositionSequence, item.FrameContentSequence = [position], [content]
        ds.PerFrameFunctionalGroupsSequence.append(item)
    pixels = [_slice_pixels(seed, size) for seed in range(_VARIANTS)]
    return Instance(*names, _written(ds, b"".join(pixels[n % _VARIANTS] for n in range(frames))), frames)


def slide(tiles: int, *, table: bool, size: int = 256) -> Instance:
    """A slide of baseline JPEG tiles, with or without a filled Basic Offset Table."""
    study = 0 if table else 1
    names = uid("slide", study), uid("slide", study, 0), uid("slide", study, 0, 0)
    ds = _file("1.2.840.10008.5.1.4.1.1.77.1.6", *names, JPEG)
    _patient(ds, f"SM{study:06d}", f"SYNTHETIC^SLIDE{study}", "SM", "WSI")
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "YBR_FULL_422", 0
    ds.NumberOfFrames, ds.Rows, ds.Columns = tiles, size, size
    ds.TotalPixelMatrixColumns, ds.TotalPixelMatrixRows = 40 * size, -(-tiles // 40) * size
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.DimensionOrganizationType, ds.LossyImageCompression = "TILED_FULL", "01"
    made = [_tile(seed, size) for seed in range(32)]
    data = encapsulate([made[n % len(made)] for n in range(tiles)], has_bot=table)
    return Instance(*names, _written(ds, data), tiles)


def _tile(seed: int, size: int) -> bytes:
    colours = np.array([205, 150, 190]) + 9 * _noise(seed, (size, size, 3))
    file = io.BytesIO()
    Image.fromarray(colours.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=80, subsampling=1)
    return file.getvalue()


# ---------------------------------------------------------------- many small studies


@dataclass(frozen=True, slots=True)
class Described:
    """What small study number `number` says of itself. Two studies a patient; dates spread over ten years."""

    number: int
    patient_id: str
    name: str
    accession: str
    date: str
    time: str
    modality: str
    study: str


def described(number: int) -> Described:
    """Of any number, without the others."""
    patient = number // 2
    one, other = zlib.crc32(b"p%d" % patient), zlib.crc32(b"s%d" % number)
    name = f"{SURNAMES[one % len(SURNAMES)]}^{GIVEN[(one >> 8) % len(GIVEN)]}^{(one >> 16) % 1000:03d}"
    return Described(
        number,
        f"T{patient:09d}",
        name,
        f"A{number:011d}",
        time.strftime("%Y%m%d", time.gmtime(1_420_070_400 + other % 3650 * 86400)),
        f"{(other >> 12) % 24:02d}{(other >> 17) % 60:02d}{(other >> 23) % 60:02d}",
        ("CT", "MR", "CR", "US")[(other >> 5) % 4],
        uid("tiny", number),
    )


class Tiny:
    """Studies of one instance of 1.6 kB, made by replacing bytes of one."""

    _NAME, _ID, _ACCESSION = "@NAME@".ljust(32, "@"), "@PATIENT@@", "@ACCESSION@@"

    def __init__(self) -> None:
        names = uid("tiny", 0), uid("tiny", 0, 0), uid("tiny", 0, 0, 0)
        ds = _file("1.2.840.10008.5.1.4.1.1.7", *names, EXPLICIT)
        _patient(ds, self._ID, self._NAME, "OT", "TINY STUDY DESCRIPTION")
        ds.AccessionNumber, ds.StudyDate, ds.StudyTime = self._ACCESSION, "19000101", "010203"
        ds.SeriesDescription, ds.BodyPartExamined, ds.ConversionType = "TINY SERIES", "HEAD", "WSD"
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", 16, 16
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
        self._template = Instance(*names, _written(ds, bytes(256)))

    def make(self, number: int) -> Instance:
        """Study number `number`."""
        facts, (head, pixels) = described(number), self._template.pieces
        old, new = f".1{_KINDS['tiny']}.1{0:07d}", f".1{_KINDS['tiny']}.1{number:07d}"
        for text, value in (
            (old, new),
            (self._NAME, facts.name.ljust(32)),
            (self._ID, facts.patient_id),
            (self._ACCESSION, facts.accession),
            ("19000101", facts.date),
            ("010203", facts.time),
            ("CS\x02\x00OT", f"CS\x02\x00{facts.modality}"),
        ):
            head = head.replace(text.encode(), value.encode())
        one = self._template
        study, series, sop = (name.replace(old, new) for name in (one.study, one.series, one.sop))
        return Instance(study, series, sop, (head, pixels))


def multipart(instances: list[Instance], boundary: str = "BENCHBOUNDARY7d1f") -> tuple[str, list[bytes]]:
    """Content-Type and body of a STOW-RS request."""
    pieces: list[bytes] = []
    for one in instances:
        pieces += [f"\r\n--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode(), *one.pieces]
    pieces.append(f"\r\n--{boundary}--\r\n".encode())
    return f'multipart/related; type="application/dicom"; boundary={boundary}', pieces


def batches(instances: list[Instance], size: int) -> Iterator[list[Instance]]:
    """In groups of `size`."""
    return (instances[start : start + size] for start in range(0, len(instances), size))
