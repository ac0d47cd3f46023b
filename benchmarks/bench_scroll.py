"""Scrolling a CT of 300 slices on the page, in Chromium: how long after a wheel event its slice is on the screen.

Measured inside the browser, from the event's own time stamp until the frame with its slice is painted; a slice that was
passed over counts until a later one is drawn. Twice: at once after opening the series, while pictures are still being
fetched, and again from the other end. Of `make bench`; `--slices`, `--matrix`, `--rate` (notches a second) change it.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from playwright.sync_api import Page, sync_playwright
from pydicom.dataset import Dataset

from tests.gateway.ui.conftest import stow
from tests.gateway.ui.phantom import torso
from tests.parts.datasets import ct_slice, pixels, uid
from tests.parts.gateway import GatewayProcess, program

DISTINCT = 20
"""Slices that are worked out; the others are these with other noise, which cost as much to fetch and to draw."""

WATCH = """() => {
  const screen = document.querySelector(".screen");
  window.late = [];
  let waiting = [];
  let wanted = Number(screen.dataset.shown);
  const last = Number(document.querySelector(".position").max);
  screen.addEventListener("wheel", (event) => {
    const next = Math.min(last, Math.max(1, wanted + Math.sign(event.deltaY)));
    if (next !== wanted) waiting.push({ slice: next, at: event.timeStamp, down: event.deltaY > 0 });
    wanted = next;
  }, { capture: true });
  new MutationObserver(() => {
    const shown = Number(screen.dataset.shown);
    const drawn = () => {
      const there = ({ slice, down }) => (down ? slice <= shown : slice >= shown);
      window.late.push(...waiting.filter(there).map(({ at }) => performance.now() - at));
      waiting = waiting.filter((one) => !there(one));
    };
    requestAnimationFrame(() => {
      const painted = new MessageChannel();
      painted.port1.onmessage = drawn;
      painted.port2.postMessage(null);
    });
  }).observe(screen, { attributeFilter: ["data-shown"] });
}"""


def series(slices: int, size: int) -> Iterator[list[Dataset]]:
    """A CT series in batches."""
    noise = np.random.default_rng(7).normal(0, 6, (size, size))
    planes = [np.round(torso(index / (DISTINCT - 1), size)) for index in range(DISTINCT)]
    batch = []
    for index in range(slices):
        plane = planes[index * DISTINCT // slices] + 1024 + np.roll(noise, index, (0, 1))
        ds = pixels(ct_slice("scroll", 1, index + 1, rows=2, columns=2), plane.astype(np.int16))
        ds.PixelSpacing, ds.ImagePositionPatient = [400 / size] * 2, [-200, -200, -index]
        batch.append(ds)
        if len(batch) == 25:
            yield batch
            batch = []
    if batch:
        yield batch


def scroll(page: Page, notches: int, rate: float) -> list[float]:
    """Milliseconds for each of `notches`, towards the user where positive."""
    page.evaluate("() => (window.late = [])")
    count = abs(notches)
    for _ in range(count):
        page.mouse.wheel(0, 100 if notches > 0 else -100)
        page.wait_for_timeout(1000 / rate)
    page.wait_for_function("(count) => window.late.length >= count", arg=count, timeout=60_000)
    return [float(value) for value in page.evaluate("window.late")]


def told(name: str, times: list[float]) -> None:
    times = sorted(times)
    high = times[int(len(times) * 0.95)]
    late = sum(time > 100 for time in times)
    print(f"{name:<34} {len(times):>6} {statistics.median(times):>10.1f} {high:>10.1f} {times[-1]:>10.1f} {late:>10}")


def main() -> None:
    """Store, open, scroll."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("small", "full"), default="full", help="full, or a look: 40 slices")
    parser.add_argument("--slices", type=int)
    parser.add_argument("--matrix", type=int, default=512, help="rows and columns of a slice")
    parser.add_argument("--rate", type=float, default=25.0)
    options, _ = parser.parse_known_args()
    slices = options.slices or (40 if options.size == "small" else 300)
    chromium = shutil.which("chromium")
    if chromium is None:
        print("left out, as chromium is missing: install Debian's package chromium", file=sys.stderr)
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        GatewayProcess(Path(folder) / "data", workers=None, launch=program) as gateway,
    ):
        for batch in series(slices, options.matrix):
            stow(gateway, batch)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            page.goto(f"{gateway.http_url}/#/studies/{uid('study', 'scroll')}")
            page.locator(".screen[data-shown='1']").wait_for()
            page.evaluate(WATCH)
            page.mouse.move(700, 400)
            print(f"{slices} slices of {options.matrix} x {options.matrix}, {options.rate:g} notches a second")
            print(
                f"{'milliseconds after the wheel':<34} {'slices':>6} "
                f"{'median':>10} {'95 %':>10} {'most':>10} {'> 100 ms':>10}"
            )
            told("at once after opening", scroll(page, slices - 1, options.rate))
            told("back, everything fetched", scroll(page, 1 - slices, options.rate))
            browser.close()


if __name__ == "__main__":
    main()
