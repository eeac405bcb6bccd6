"""Compare our image model with the npm package it was rebuilt from.

::

    (cd tools/compare_classifier && npm install)
    python tools/compare_classifier.py [--golden FILE]

Draws pictures from seeds, scores them through ``nsfwjs`` in Node and through OnnxClassifier, and
prints the worst difference of any score. Exits 1 if it is above 1e-4. ``--golden`` also writes
the original's scores, against which ``tests/unit/test_classifier.py`` holds ours without Node.

All pictures are 224 x 224, so that neither side resizes; nsfwjs divides by 255 and does nothing
else to them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests" / "unit")]

from classifier_pictures import PICTURES, picture  # noqa: E402

from uploadsvc.verify.classifier import OnnxClassifier  # noqa: E402

ALLOWED = 1e-4


def original(pictures: list[Any]) -> list[dict[str, float]]:
    with tempfile.NamedTemporaryFile(suffix=".rgb") as raw:
        raw.write(b"".join(frame.tobytes() for frame in pictures))
        raw.flush()
        command = ["node", "score.mjs", raw.name]
        folder = HERE / "compare_classifier"
        done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE)
    answers: list[dict[str, float]] = json.loads(done.stdout)
    return answers


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare our image model with nsfwjs.")
    parser.add_argument(
        "--golden", type=Path, help="also write the original's scores here"
    )
    golden = parser.parse_args().golden

    pictures = [picture(*key) for key in PICTURES]
    theirs = original(pictures)
    classifier = OnnxClassifier()
    ours = [classifier.scores(frame) for frame in pictures]

    worst = 0.0
    for (kind, seed), a, b in zip(PICTURES, theirs, ours, strict=True):
        difference = max(abs(a[label] - b[label]) for label in a.keys() | b.keys())
        first = max(a, key=a.__getitem__)
        print(
            f"{kind:>10} {seed}: {first:>8} {a[first]:.4f}, differs by {difference:.1e}"
        )
        worst = max(worst, difference)
    print(f"{classifier.name}: worst difference {worst:.1e} of {ALLOWED:.0e} allowed")
    if golden is not None:
        told = [
            {"kind": kind, "seed": seed, "scores": scores}
            for (kind, seed), scores in zip(PICTURES, theirs, strict=True)
        ]
        golden.write_text(
            json.dumps({"model": classifier.name, "pictures": told}, indent=1) + "\n"
        )
    return 0 if worst <= ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
