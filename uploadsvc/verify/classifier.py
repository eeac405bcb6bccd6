"""The image model: MobileNetV2 of the npm package ``nsfwjs``, run by onnxruntime.

``tools/build_classifier.py`` made the model file, ``tools/compare_classifier.py`` shows that it
gives the scores of the original. Runs in the verifier child; loading takes 0.3 s, so one object
serves all of a child's jobs. One thread: children are as many as there are cores to use, and
more threads would only make them wait for each other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources

import numpy as np

# Read when the library is loaded: it would write an id into the home folder and report.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime
from PIL import Image

from uploadsvc.verify import Array

MODEL = "nsfw_mobilenet_v2.onnx"
SIDE = 224  # pixels; the model knows no other size


class OnnxClassifier:
    """A Classifier with the labels drawing, hentai, neutral, porn and sexy."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        content = (
            resources.files("uploadsvc.verify").joinpath("data", MODEL).read_bytes()
        )
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        facts = self._session.get_modelmeta().custom_metadata_map
        self._labels = tuple(facts["labels"].split(","))
        self.name: str = facts["name"]

    def scores(self, frame: Array) -> Mapping[str, float]:
        if frame.shape[:2] != (SIDE, SIDE):
            # Pillow's bilinear looks at every pixel when it shrinks; the original looks at
            # four and so misses most of a large picture.
            picture = Image.fromarray(frame)
            frame = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        image = np.asarray(frame, np.uint8)[np.newaxis]
        (rows,) = self._session.run(None, {"image": image})
        return dict(zip(self._labels, map(float, rows[0]), strict=True))
