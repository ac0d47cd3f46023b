"""Python clients as people use them: the command line of dicomweb-client, wsidicom, dicomtrolley, and highdicom's SEG
and SR stored and read back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
import requests
from dicomtrolley.core import QueryLevels
from dicomtrolley.qido_rs import HierarchicalQuery, QidoRS, RelationalQuery
from dicomtrolley.trolley import Trolley
from dicomtrolley.wado_rs import WadoRS
from dicomtrolley.wado_uri import WadoURI
from dicomweb_client.api import DICOMwebClient
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless, VLWholeSlideMicroscopyImageStorage
from wsidicom import WsiDicom
from wsidicom.web.wsidicom_web_client import WsiDicomWebClient

from tests.clients.conftest import store
from tests.parts.datasets import color, encapsulated, instance, part10_bytes, pixels, sequence_item, series_of, uid
from tests.parts.gateway import GatewayProcess


@pytest.fixture(scope="module")
def gateway(module_gateway: GatewayProcess) -> GatewayProcess:
    """One for all tests of the module."""
    return module_gateway


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """Of the clients' HTTP library; closed after the module."""
    with requests.Session() as session:
        yield session


@pytest.fixture(scope="module")
def client(gateway: GatewayProcess, session: requests.Session) -> DICOMwebClient:
    """What highdicom and wsidicom speak through."""
    return DICOMwebClient(url=gateway.dicomweb_url, session=session)


# ---------------------------------------------------------------- dicomweb_client


class CommandLine:
    """`dicomweb_client`, at a gateway."""

    def __init__(self, gateway: GatewayProcess) -> None:
        program = Path(sys.executable).parent / "dicomweb_client"
        self.command = [str(program), "--url", gateway.dicomweb_url]

    def __call__(self, *arguments: object) -> str:
        """Run it; what it prints. It must end with status 0 and say no error."""
        command = [*self.command, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert "rror" not in done.stderr, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def command(gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """The command, and a series and a picture that it has stored."""
    run = CommandLine(gateway)
    folder = tmp_path_factory.mktemp("files")
    paths = []
    for number, ds in enumerate((*series_of(2, "command"), color("command", 2)), 1):
        path = folder / f"{number}.dcm"
        path.write_bytes(part10_bytes(ds, RLELossless if number == 3 else "1.2.840.10008.1.2.1"))
        paths.append(path)
    run("store", "instances", *paths)
    return run


def test_the_command_searches(command: CommandLine) -> None:
    """QIDO-01 to QIDO-03, with filters, fields and paging."""
    study = uid("study", "command")
    (found,) = json.loads(
        command("search", "studies", "--filter", "PatientID=ID-command", "--field", "StudyDescription")
    )
    assert found["0020000D"]["Value"] == [study]
    assert len(json.loads(command("search", "series", "--study", study))) == 2
    assert len(json.loads(command("search", "instances", "--study", study, "--limit", 2, "--offset", 1))) == 2
    assert "Study Instance UID" in command("search", "studies", "--filter", "PatientID=ID-command", "--dicomize")
    fuzzy = ("search", "studies", "--filter", "PatientName=Command", "--fuzzy")
    assert [one["0020000D"]["Value"] for one in json.loads(command(*fuzzy))] == [[study]]


def test_the_command_retrieves(command: CommandLine, tmp_path: Path) -> None:
    """WADO-01 to WADO-03."""
    first, colour = series_of(1, "command")[0], color("command", 2)
    uids = ["--study", first.StudyInstanceUID, "--series", first.SeriesInstanceUID, "--instance", first.SOPInstanceUID]
    assert len(json.loads(command("retrieve", "studies", uids[0], uids[1], "metadata"))) == 3
    found = json.loads(command("retrieve", "instances", *uids, "metadata"))
    assert found["00080018"]["Value"] == [first.SOPInstanceUID]

    command("retrieve", "series", *uids[:4], "full", "--save", "--output-dir", tmp_path)
    saved = [dcmread(path) for path in tmp_path.iterdir()]
    assert sorted(ds.InstanceNumber for ds in saved) == [1, 2]
    assert all(ds.PixelData for ds in saved)

    frames = tmp_path / "frames"
    frames.mkdir()
    uids = ["--study", colour.StudyInstanceUID, "--series", colour.SeriesInstanceUID]
    uids += ["--instance", colour.SOPInstanceUID]
    types = ["--media-type", "application/octet-stream"]
    command("retrieve", "instances", *uids, "frames", "--numbers", 1, *types, "--save", "--output-dir", frames)
    assert [path.read_bytes() for path in frames.iterdir()] == [colour.PixelData]


# ---------------------------------------------------------------- wsidicom


TILE = 64


def levels() -> list[NDArray[np.uint8]]:
    """A picture of 4 x 3 tiles, and the same at half the size."""
    rows, columns = 3 * TILE, 4 * TILE
    y, x = np.mgrid[0:rows, 0:columns]
    whole = np.stack([x * 255 // columns, y * 255 // rows, (x // 16 + y // 16) % 2 * 200], axis=-1).astype(np.uint8)
    half = whole.reshape(rows // 2, 2, columns // 2, 2, 3).mean(axis=(1, 3)).astype(np.uint8)
    return [whole, np.pad(half, ((0, TILE // 2), (0, 0), (0, 0)))[: 2 * TILE]]


def tiles(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Its tiles, row by row."""
    rows, columns = picture.shape[0] // TILE, picture.shape[1] // TILE
    cut = picture.reshape(rows, TILE, columns, TILE, 3).swapaxes(1, 2)
    return cut.reshape(-1, TILE, TILE, 3)


def slide(name: str, number: int, picture: NDArray[np.uint8], spacing: float) -> Dataset:
    """One level of a whole slide image, tiled in full (PS3.3 A.32.8), native."""
    ds = instance(VLWholeSlideMicroscopyImageStorage, "SM", name, 1, number)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE" if number == 1 else "RESAMPLED"]
    ds.FrameOfReferenceUID = uid("frame of reference", name)
    ds.PositionReferenceIndicator = "SLIDE_CORNER"
    ds.DimensionOrganizationType = "TILED_FULL"
    ds.AcquisitionDateTime = "20260304101112"
    ds.BurnedInAnnotation = "NO"
    ds.SpecimenLabelInImage = "NO"
    ds.FocusMethod = "AUTO"
    ds.ExtendedDepthOfField = "NO"
    ds.VolumetricProperties = "VOLUME"
    ds.LossyImageCompression = "00"
    ds.ContainerIdentifier = "SLIDE"
    ds.IssuerOfTheContainerIdentifierSequence = []
    ds.ContainerTypeCodeSequence = []
    ds.AcquisitionContextSequence = []
    ds.SpecimenDescriptionSequence = []
    ds.ImagedVolumeHeight = spacing * picture.shape[0]
    ds.ImagedVolumeWidth = spacing * picture.shape[1]
    ds.ImagedVolumeDepth = 0.001
    ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = picture.shape[:2]
    ds.TotalPixelMatrixFocalPlanes = 1
    ds.NumberOfOpticalPaths = 1
    origin = sequence_item(XOffsetInSlideCoordinateSystem="0", YOffsetInSlideCoordinateSystem="0")
    ds.TotalPixelMatrixOriginSequence = [origin]
    ds.ImageOrientationSlide = [0, 1, 0, 1, 0, 0]
    ds.OpticalPathSequence = [
        sequence_item(OpticalPathIdentifier="1", IlluminationTypeCodeSequence=[brightfield()], ICCProfile=b"\0\0")
    ]
    measures = sequence_item(PixelSpacing=[spacing, spacing], SliceThickness="0.001")
    kind = sequence_item(FrameType=ds.ImageType)
    shared = sequence_item(PixelMeasuresSequence=[measures], WholeSlideMicroscopyImageFrameTypeSequence=[kind])
    ds.SharedFunctionalGroupsSequence = [shared]
    pixels(ds, tiles(picture), "RGB")
    del ds.OpticalPathSequence[0].ICCProfile
    return ds


def brightfield() -> Dataset:
    """The code of the usual illumination."""
    return sequence_item(CodeValue="111744", CodingSchemeDesignator="DCM", CodeMeaning="Brightfield illumination")


@pytest.mark.filterwarnings("ignore:No bulk data URI handler")  # wsidicom reads metadata without one
@pytest.mark.parametrize(
    ("syntax", "media_type"), [(JPEG2000Lossless, "image/jp2"), (JPEGBaseline8Bit, "image/jpeg")], ids=["jp2", "jpeg"]
)
def test_wsidicom_opens_a_slide_and_reads_regions(
    gateway: GatewayProcess, client: DICOMwebClient, syntax: str, media_type: str
) -> None:
    """It searches with a list of SeriesInstanceUID, asks for AvailableTransferSyntaxUID, and takes lists of frames.

    What it is given was compressed by the gateway: it knows no transfer syntax but those that an instance has.
    """
    name, pyramid = media_type.replace("image/", "slide "), levels()
    for number, picture in enumerate(pyramid, 1):
        native = slide(f"native {name[6:]}", number, picture, 0.0005 * number)
        store(gateway, part10_bytes(native))
        frames = client.retrieve_instance_frames(
            native.StudyInstanceUID,
            native.SeriesInstanceUID,
            native.SOPInstanceUID,
            list(range(1, native.NumberOfFrames + 1)),
            media_types=((media_type, syntax),),
        )
        photometric = "YBR_RCT" if syntax == JPEG2000Lossless else "YBR_FULL_422"
        ds = encapsulated(slide(name, number, picture, 0.0005 * number), frames, photometric=photometric)
        store(gateway, part10_bytes(ds, syntax))
    with WsiDicom.open_web(
        WsiDicomWebClient(client), uid("study", name), [uid("series", name, 1), uid("series", "other")]
    ) as opened:
        assert [(level.size.width, level.size.height) for level in opened.levels] == [
            (picture.shape[1], picture.shape[0]) for picture in pyramid
        ]
        region = np.asarray(opened.read_region((30, 40), 0, (150, 100)).convert("RGB"))
        small = np.asarray(opened.read_region((10, 10), 1, (100, 60)).convert("RGB"))
    bound = 0 if syntax == JPEG2000Lossless else 12
    assert np.abs(region.astype(int) - pyramid[0][40:140, 30:180]).mean() <= bound
    assert np.abs(small.astype(int) - pyramid[1][10:70, 10:110]).mean() <= bound


# ---------------------------------------------------------------- dicomtrolley


@pytest.mark.parametrize("how", ["wado-rs", "wado-rs by series", "wado-uri"])
def test_dicomtrolley_finds_and_downloads(
    gateway: GatewayProcess, session: requests.Session, tmp_path: Path, how: str
) -> None:
    """QIDO-RS hierarchical and relational, then both of its downloaders of WADO-RS and WADO-URI."""
    store(gateway, *(part10_bytes(ds) for ds in (*series_of(3, "trolley"), color("trolley", 2))))
    downloader = (
        WadoURI(session, f"{gateway.http_url}/wado")
        if how == "wado-uri"
        else WadoRS(session, gateway.dicomweb_url, request_per_series="by series" in how)
    )
    trolley = Trolley(downloader=downloader, searcher=QidoRS(session, gateway.dicomweb_url))
    day = datetime(2026, 3, 4)
    query = HierarchicalQuery(
        PatientID="ID-trolley", min_study_date=day, max_study_date=day, include_fields=["StudyDescription"]
    )
    (study,) = trolley.find_studies(query)
    assert study.uid == uid("study", "trolley")
    relational = RelationalQuery(query_level=QueryLevels.INSTANCE, StudyInstanceUID=study.uid)
    assert sum(len(series.instances) for one in trolley.find_studies(relational) for series in one.series) == 4

    trolley.download(study, tmp_path)
    found = [dcmread(path) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(ds.SOPInstanceUID for ds in found) == sorted(
        ds.SOPInstanceUID for ds in (*series_of(3, "trolley"), color("trolley", 2))
    )
    assert all(ds.PixelData for ds in found)


# ---------------------------------------------------------------- highdicom


def references(client: DICOMwebClient, gateway: GatewayProcess, study: str) -> Sequence[Dataset]:
    """The images of a study, as the gateway gives them."""
    store(gateway, *(part10_bytes(ds) for ds in series_of(3, study)))
    return client.retrieve_series(uid("study", study), uid("series", study, 1))


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_a_segmentation_of_highdicom_is_read_back(client: DICOMwebClient, gateway: GatewayProcess, kind: str) -> None:
    """TS-14: stored and retrieved it is the same; so are its frames, of 1 bit a pixel too."""
    images = references(client, gateway, f"seg {kind[:3]}")
    segmented = np.stack([ds.pixel_array > -100 for ds in images])
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="disc",
        segmented_property_category=codes.SCT.Organ,
        segmented_property_type=codes.SCT.Liver,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
    )
    seg = hd.seg.Segmentation(
        source_images=images,
        pixel_array=segmented.astype(np.float32) if kind == "FRACTIONAL" else segmented.astype(np.uint8),
        segmentation_type=kind,
        segment_descriptions=[segment],
        series_instance_uid=uid("series", "seg", kind),
        series_number=2,
        sop_instance_uid=uid("instance", "seg", kind),
        instance_number=1,
        manufacturer="Gantry tests",
        manufacturer_model_name="Tests",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=False,
    )
    client.store_instances([seg])
    got = client.retrieve_instance(seg.StudyInstanceUID, seg.SeriesInstanceUID, seg.SOPInstanceUID)
    back = hd.seg.Segmentation.from_dataset(got)
    found = back.get_pixels_by_source_instance([ds.SOPInstanceUID for ds in images], segment_numbers=[1])
    assert np.array_equal(found[..., 0] > 0, segmented)
    assert got.PixelData == seg.PixelData

    frames = client.retrieve_instance_frames(
        seg.StudyInstanceUID,
        seg.SeriesInstanceUID,
        seg.SOPInstanceUID,
        [1, 2, 3],
        media_types=("application/octet-stream",),
    )
    for frame, expected in zip(frames, seg.pixel_array, strict=True):
        values = np.frombuffer(frame, np.uint8)
        if kind == "BINARY":
            values = np.unpackbits(values, bitorder="little")
        assert np.array_equal(values[: expected.size].reshape(expected.shape), expected)


def test_a_report_of_highdicom_is_read_back(client: DICOMwebClient, gateway: GatewayProcess) -> None:
    """A measurement report (TID 1500), found by its class, and read from the file and from the metadata."""
    images = references(client, gateway, "sr")
    observer = hd.sr.ObserverContext(
        observer_type=codes.DCM.Person,
        observer_identifying_attributes=hd.sr.PersonObserverIdentifyingAttributes(name="Müller^Änne"),
    )
    region = hd.sr.ImageRegion(
        graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
        graphic_data=np.array([(5.0, 5.0), (20.0, 5.0), (20.0, 20.0), (5.0, 5.0)]),
        source_image=hd.sr.SourceImageForRegion(
            referenced_sop_class_uid=images[0].SOPClassUID, referenced_sop_instance_uid=images[0].SOPInstanceUID
        ),
    )
    measured = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid("tracking"), "disc"),
        referenced_region=region,
        finding_type=codes.SCT.Mass,
        measurements=[hd.sr.Measurement(name=codes.SCT.Area, value=1.7, unit=codes.UCUM.SquareMillimeter)],
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_person_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=[measured],
    )
    report = hd.sr.ComprehensiveSR(
        evidence=images,
        content=content,
        series_instance_uid=uid("series", "sr"),
        series_number=2,
        sop_instance_uid=uid("instance", "sr"),
        instance_number=1,
        manufacturer="Gantry tests",
    )
    client.store_instances([report])
    (found,) = client.search_for_instances(
        report.StudyInstanceUID, search_filters={"SOPClassUID": report.SOPClassUID}, fields=["ContentDate"]
    )
    assert found["00080018"]["Value"] == [report.SOPInstanceUID]
    uids = (report.StudyInstanceUID, report.SeriesInstanceUID, report.SOPInstanceUID)
    from_file = client.retrieve_instance(*uids)
    from_metadata = Dataset.from_json(client.retrieve_instance_metadata(*uids))
    from_metadata.file_meta = from_file.file_meta
    for got in (from_file, from_metadata):
        read = hd.sr.ComprehensiveSR.from_dataset(got).content
        assert isinstance(read, hd.sr.MeasurementReport)
        (group,) = read.get_planar_roi_measurement_groups(tracking_uid=uid("tracking"))
        (measurement,) = group.get_measurements()
        assert (measurement.value, measurement.unit) == (1.7, codes.UCUM.SquareMillimeter)
        assert group.roi is not None
        assert np.array_equal(group.roi.value, region.value)
        assert "Müller^Änne" in str(got)
