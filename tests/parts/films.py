"""Small films, encoded for the tests: a white bar that walks over black, one step a frame."""

from __future__ import annotations

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


def decoded(data: bytes, container: str | None = None) -> list[tuple[float, NDArray[np.uint8]]]:
    """Time in seconds and grey values of each frame, as FFmpeg decodes it."""
    reader: Any
    with av.open(BytesIO(data), format=container) as reader:
        return [(frame.time or 0.0, frame.to_ndarray(format="gray")) for frame in reader.decode(video=0)]
