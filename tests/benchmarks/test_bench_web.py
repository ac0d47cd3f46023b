"""The benchmark itself: its small size runs through, and writes a page, a history and a picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import bench_web, report
from benchmarks.__main__ import TAKES, commands
from benchmarks.measure import Result
from benchmarks.servers import orthanc_installed
from tests.parts.machine import must_run_all

KEPT = Path(__file__).parents[2] / "artifacts" / "bench.jsonl"
"""History of the runs on one machine, such as one that does CI; in a folder that git ignores."""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that one run of the small size has written to."""
    folder = tmp_path_factory.mktemp("bench")
    page, image = folder / "performance.md", folder / "images" / "performance.png"
    bench_web.run(bench_web.SIZES["small"], folder, page=page, history=folder / "performance.jsonl", image=image)
    if must_run_all():
        KEPT.parent.mkdir(exist_ok=True)
        with KEPT.open("a") as file:
            file.write((folder / "performance.jsonl").read_text())
    return folder


def test_all_of_it_is_measured_and_stands_in_the_table(out: Path) -> None:
    page = (out / "performance.md").read_text()
    for row in bench_web.ROWS:
        assert f"| {row.title} |" in page
    assert "## What the machine can do" in page
    assert "Peak memory" in page


def test_the_history_has_a_line_with_rate_and_cpu_of_each_work(out: Path) -> None:
    (line,) = (out / "performance.jsonl").read_text().splitlines()
    found = json.loads(line)["rate and CPU ms"]
    assert set(found) == {row.work for row in bench_web.ROWS}
    assert all(one["Gantry"][0] > 0 for one in found.values())
    assert any(one["Gantry"][1] > 0 for one in found.values())


@pytest.mark.skipif(not orthanc_installed(), reason="Debian's orthanc and orthanc-dicomweb are not installed")
def test_ratios_to_the_peer_are_a_picture(out: Path) -> None:
    with Image.open(out / "images" / "performance.png") as image:
        assert image.width > 1000


def result(work: str, server: str, rate: float) -> Result:
    return Result(work, server, 100, 100 / rate, 0.2, 50.0, 0.0, (1.0, 2.0, 3.0))


def test_a_ratio_is_one_of_medians() -> None:
    found = [result("x", "A", rate) for rate in (10, 20, 900)] + [result("x", "B", rate) for rate in (1, 2, 3)]
    assert report.ratio(found, "x", "A", "B") == pytest.approx(10.0)
    assert report.ratio(found, "y", "A", "B") is None
    reached, missed = report.Row("x", "the work", 5), report.Row("x", "the work", 50)
    assert "**10.0** | 5 |" in report.table(found, [reached], "A", "B")
    assert "| 10.0 | 50 |" in report.table(found, [missed], "A", "B")


def test_there_may_be_several_peers() -> None:
    found = [result("x", name, rate) for name, rate in (("A", 10), ("B", 5), ("C", 1))]
    text = report.table(found, [report.Row("x", "the work", 5)], "A", "B", "C")
    assert "| ratio to B | ratio to C | wanted |" in text
    assert "| 2.00 | **10.0** | 5 |" in text


def test_pieces_add_up_and_the_last_run_of_each_counts(tmp_path: Path) -> None:
    kept = bench_web.Kept(tmp_path / "kept.jsonl")
    first, second, again = result("x", "A", 1), result("y", "A", 2), result("x", "A", 3)
    assert kept.add([first]) == [first]
    assert kept.add([second]) == [first, second]
    assert kept.add([again]) == [second, again]
    assert bench_web.Kept(None).add([first]) == [first]


def test_words_name_benchmarks_and_pieces_of_them() -> None:
    def named(*arguments: str) -> list[str]:
        return [" ".join([Path(one[1]).stem, *one[2:]]) for one in commands(list(arguments))]

    assert [one.split()[0] for one in named()] == [f"bench_{name}" for name in TAKES]
    assert {path.stem for path in Path(bench_web.__file__).parent.glob("bench_*.py")} == set(
        one.split()[0] for one in named()
    )
    assert named("--only", "qido,stow", "--keep", "/k") == ["bench_web --keep=/k --only=qido,stow"]
    assert named("--only", "scroll,scale", "--size", "small", "--out", "/o") == [
        "bench_scale --size=small --out=/o",
        "bench_scroll --size=small",
    ]
    assert named("--only", "web,qido") == ["bench_web"]
    with pytest.raises(SystemExit):
        commands(["--only", "nothing"])


def test_a_section_takes_the_place_of_its_former_self_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for name, text in (("a", "## A\nold"), ("b", "## B\nkept"), ("a", "## A\nnew \\1")):
        report.section(name, text, page)
    found = page.read_text()
    assert "old" not in found and "## B\nkept" in found and "new \\1" in found
    assert found.index("## A") < found.index("## B")
