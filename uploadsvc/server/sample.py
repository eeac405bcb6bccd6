"""A real film made on the spot, for the demo and for the curl lines of ``make run``."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy

FRAMES_A_SECOND = 25
SCENE_S = 2  # each scene begins with a keyframe, which is what analysis looks at


def film(path: Path, *, seconds: int = 30, width: int = 640, height: int = 360) -> None:
    """Write an MP4 (H.264) of moving colours with a new scene every two seconds."""
    down, across = numpy.mgrid[0:height, 0:width].astype(numpy.float32)
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FRAMES_A_SECOND)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, FRAMES_A_SECOND)
        stream.options = {"preset": "ultrafast", "g": str(SCENE_S * FRAMES_A_SECOND)}
        for number in range(seconds * FRAMES_A_SECOND):
            scene, moment = divmod(number, SCENE_S * FRAMES_A_SECOND)
            picture = numpy.stack(
                [
                    127 + 120 * numpy.sin(across / (30 + 7 * scene) + moment / 9),
                    127 + 120 * numpy.sin(down / (25 + 5 * scene) - moment / 7),
                    127 + 120 * numpy.sin((across + down) / 60 + scene),
                ],
                axis=-1,
            ).astype(numpy.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
