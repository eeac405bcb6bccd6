"""What verification is: a file goes in, progress comes out, an outcome ends it.

Runs in a child process of its own (``python -m uploadsvc.verify``) or wherever somebody
calls :func:`uploadsvc.verify.pipeline.verify`. Knows no Flask, no database, no hub and no
network. This page is the contract; the siblings hold its parts:

========================  ==================================================================
``pipeline``              the stages in their order, as one generator
``probe``                 what the file really is, by content
``formats``               one module a family (image, video, audio, pdf): whole? frames? copy?
``classifier``            the image model
``moderation``            scores and words to a verdict, by the policy file
``__main__``              the child: jobs on stdin, event lines on stdout
========================  ==================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from uploadsvc.model import Facts

Array = Any  # numpy.ndarray, H x W x 3, uint8, RGB


@dataclass(frozen=True, slots=True)
class Subject:
    """A file to verify.

    ``path`` is read and never written. ``scratch`` is an empty folder, the only place
    verification may write to. The texts are the uploader's and are data, never names.
    """

    path: Path
    scratch: Path
    title: str = ""
    description: str = ""
    file_name: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may ask of us. Over a limit is ``invalid_media``, said before the work."""

    max_pixels: int = 100_000_000  # of one frame; a 12 MP photo is 12,000,000
    max_duration_s: float = 4 * 3600
    max_pages: int = 2000
    max_frames: int = 2000  # of an animation
    max_tracks: int = 16
    sampled_frames: int = 32  # shown to the classifier, at the most


@dataclass(frozen=True, slots=True)
class Probed:
    """What validating learned. ``family`` names the module of ``formats`` that goes on.

    ``plan`` is how many samples analysing will take: frames, pages or seconds of sound.
    """

    family: str
    mime_type: str
    plan: int
    width: int | None = None
    height: int | None = None
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One unit of analysis done. ``frame`` is a picture for the classifier, or None (sound).

    ``at`` says where it was taken: seconds into a film, or the number of a page or frame.
    """

    at: float
    frame: Array | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What processing made inside the scratch folder: the file to keep and its picture."""

    facts: Facts
    original: str
    thumbnail: str | None


class Format(Protocol):
    """A family of files. Every method opens ``subject.path`` anew and leaves nothing open.

    Foreign errors (a decoder's) become :class:`uploadsvc.errors.InvalidMedia` here.
    """

    def probe(self, subject: Subject, mime_type: str, limits: Limits) -> Probed:
        """Parse the container and decode enough to know the file is whole.

        Raises InvalidMedia (damaged, truncated, beyond a limit) or UnsupportedMedia.
        """

    def samples(
        self, subject: Subject, probed: Probed, limits: Limits
    ) -> Iterator[Sample]:
        """Yield at most ``probed.plan`` samples spread over the whole of the file."""

    def keep(self, subject: Subject, probed: Probed) -> Iterator[float | Kept]:
        """Strip location metadata, apply orientation, make the thumbnail.

        Yields shares of the work done (0 to 1, growing) and at last one Kept.
        """


class Classifier(Protocol):
    """A model that gives a picture scores by label; they add up to 1."""

    name: str

    def scores(self, frame: Array) -> Mapping[str, float]: ...
