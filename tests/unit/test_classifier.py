"""The image model gives the scores of the npm package it was rebuilt from, without Node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classifier_pictures import PICTURES, picture

from uploadsvc.verify.classifier import OnnxClassifier
from uploadsvc.verify.policy_file import PICTURE_LABELS

# Written by `tools/compare_classifier.py --golden`.
GOLDEN = json.loads(
    (Path(__file__).parent / "data" / "classifier_golden.json").read_text()
)


@pytest.fixture(scope="module")
def classifier() -> OnnxClassifier:
    return OnnxClassifier()


@pytest.mark.parametrize(
    "golden", GOLDEN["pictures"], ids=lambda each: f"{each['kind']}-{each['seed']}"
)
def test_scores_are_those_of_the_original(
    classifier: OnnxClassifier, golden: dict[str, Any]
) -> None:
    frame = picture(golden["kind"], golden["seed"])

    scores = classifier.scores(frame)

    assert scores == pytest.approx(golden["scores"], abs=1e-4)


def test_golden_file_has_every_picture_and_is_of_the_shipped_model(
    classifier: OnnxClassifier,
) -> None:
    told = tuple((each["kind"], each["seed"]) for each in GOLDEN["pictures"])

    assert told == PICTURES
    assert GOLDEN["model"] == classifier.name


@pytest.mark.parametrize("shape", [(1, 1, 3), (2160, 3840, 3), (3000, 7, 3)])
def test_any_size_gives_scores_of_all_labels_that_add_up_to_one(
    classifier: OnnxClassifier, shape: tuple[int, int, int]
) -> None:
    frame = np.random.RandomState(1).randint(0, 256, shape).astype(np.uint8)

    scores = classifier.scores(frame)

    assert scores.keys() == set(PICTURE_LABELS)
    assert sum(scores.values()) == pytest.approx(1, abs=1e-5)


def test_enlarged_picture_scores_like_the_small_one(classifier: OnnxClassifier) -> None:
    frame = picture("coarse", 1)
    enlarged = frame.repeat(4, axis=0).repeat(4, axis=1)

    scores = classifier.scores(enlarged)

    assert scores == pytest.approx(classifier.scores(frame), abs=0.05)


def test_a_view_that_is_not_contiguous_is_scored_as_its_copy(
    classifier: OnnxClassifier,
) -> None:
    mirrored = picture("shapes", 2)[:, ::-1]

    scores = classifier.scores(mirrored)

    assert scores == classifier.scores(mirrored.copy())
