"""Small films, encoded for the tests: a white bar that walks over black, one step a frame."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from io import BytesIO
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, FRAMES, RATE = 160, 120, 40, 10


@cache
def film(codec: str = "libx264", container: str = "mp4", **options: str) -> bytes:
    """A film of `FRAMES` frames at `RATE` a second; its codec and container as FFmpeg names them."""
    out = BytesIO()
    av.logging.set_level(av.logging.ERROR)
    writer: Any
    with av.open(out, "w", format=container) as writer:
        stream = writer.add_stream(codec, rate=RATE, options={"x265-params": "log-level=none", **options})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FRAMES):
            frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            frame[:, 4 * number : 4 * number + 4] = 255
            writer.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        writer.mux(stream.encode())
    return out.getvalue()


def heard(data: bytes, container: str | None = None) -> tuple[int, float, NDArray[np.float32]]:
    """Of the sound of a film, as FFmpeg decodes it: its rate, the time of its first sample, and its first channel."""
    reader: Any
    with av.open(BytesIO(data), format=container) as reader:
        frames = list(reader.decode(audio=0))
    return frames[0].sample_rate, frames[0].time or 0.0, np.concatenate([frame.to_ndarray()[0] for frame in frames])


@cache
def talkie(container: str = "mpegts", *, rate: int = 44_100, channels: str = "stereo", late: float = 0.0) -> bytes:
    """The same film with sound, AAC: a tone that is louder from the middle on; it begins `late` seconds after it."""
    out = BytesIO()
    av.logging.set_level(av.logging.ERROR)
    writer: Any
    with av.open(out, "w", format=container) as writer:
        picture = writer.add_stream("libx264", rate=RATE)
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = writer.add_stream("aac", rate=rate, layout=channels)
        times = np.arange(int(rate * FRAMES / RATE)) / rate
        tone = (np.sin(2 * np.pi * 440 * times) * np.where(times < FRAMES / RATE / 2, 0.1, 0.8)).astype(np.float32)
        for number in range(FRAMES):
            frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            frame[:, 4 * number : 4 * number + 4] = 255
            writer.mux(picture.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            step = rate // RATE
            piece = np.stack([tone[number * step : (number + 1) * step]] * (2 if channels == "stereo" else 1))
            samples = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), "fltp", channels)
            samples.sample_rate, samples.time_base = rate, Fraction(1, rate)
            samples.pts = number * step + int(late * rate)
            writer.mux(sound.encode(samples))
        writer.mux(picture.encode())
        writer.mux(sound.encode())
    return out.getvalue()


def decoded(data: bytes, container: str | None = None) -> list[tuple[float, NDArray[np.uint8]]]:
    """Time in seconds and grey values of each frame, as FFmpeg decodes it."""
    reader: Any
    with av.open(BytesIO(data), format=container) as reader:
        return [(frame.time or 0.0, frame.to_ndarray(format="gray")) for frame in reader.decode(video=0)]
