"""What verification is: a file goes in, progress comes out, an outcome ends it.

Runs in a child process of its own (``python -m uploadsvc.verify``) or wherever somebody
calls :func:`uploadsvc.verify.pipeline.verify`. Knows no Flask, no database, no hub and no
network. This page is the contract; the siblings hold its parts:

========================  ==================================================================
``pipeline``              the stages in their order, as one generator
``probe``                 what the file really is, by content
``formats``               one module a family (image, video, audio, pdf): whole? frames? copy?
``analysers``             who looks: image model, words, known-bad lists, ClamAV, others
``classifier``            the image model
``wording``, ``folding``  which words a text holds, in whatever spelling
``moderation``            evidence to a verdict, by the policy (``policy_file`` reads it)
``explain``               a verdict in words for people
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
    sampled_frames: int = 300  # of a film or an animation, decoded and compared
    frames_between: int = 5000  # of a film, decoded to reach others far from keyframes
    sampled_pages: int = 40  # of a document; one costs 20 to 200 ms to draw
    embedded_pictures: int = 32  # of a document, beside its pages
    cover_pictures: int = 4  # of a sound


@dataclass(frozen=True, slots=True)
class Probed:
    """What validating learned. ``family`` names the module of ``formats`` that goes on.

    ``plan`` is how many samples analysing will take: frames, pages or seconds of sound.
    ``codec`` is that of the film or the sound, by the name everybody uses. ``whole`` is False
    where the plan stops at a bound, so that something in the file is looked at by nobody.
    """

    family: str
    mime_type: str
    plan: int
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    codec: str | None = None
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Sample:
    """One unit of analysis done. ``frame`` is a picture for the analysers, or None: sound, or a
    picture near-identical to one that was shown before.

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


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an analyser saw: a label of its own vocabulary with a score from 0 to 1.

    Evidence is not a verdict; the policy says what it leads to. ``source`` is the analyser's
    name, ``where`` is for people: ``second 12.4``, ``page 3``, ``title``, ``file``.
    """

    source: str
    label: str
    score: float
    where: str


@dataclass(frozen=True, slots=True)
class Unexamined:
    """What an analyser was meant to look at and did not, so that nobody calls it clean.

    ``what`` is a stable word the policy knows (``speech``, ``too_big``, ``unreachable``);
    ``why`` is for the log and the moderator.
    """

    source: str
    what: str
    where: str
    why: str = ""


class Analyser(Protocol):
    """Somebody who looks at a file, at pictures sampled from it, or at words.

    Every method may give nothing. A fault that is the analyser's own (a server that does not
    answer) is an Unexamined, never an exception: one engine that is down must not decide by
    its absence. Inherit :class:`uploadsvc.verify.analysers.Silent` for the methods an analyser
    has no use for.
    """

    name: str

    def file(self, subject: Subject, mime_type: str) -> Iterator[Evidence | Unexamined]:
        """Look at the received bytes as a whole, before anything is decoded."""

    def picture(self, sample: Sample, where: str) -> Iterator[Evidence | Unexamined]:
        """Look at one sampled picture (``sample.frame`` is never None)."""

    def words(self, field: str, text: str) -> Iterator[Evidence | Unexamined]:
        """Look at words: the title, the description, a metadata field, a page's text."""


@dataclass(frozen=True, slots=True)
class Writing:
    """Words inside a file; ``field`` says where: ``page 3``, ``metadata title``."""

    field: str
    text: str


class Reader(Protocol):
    """Reads the words inside the files of a family, and knows what of them nobody examines.

    Bounded, and what lies beyond the bound is an Unexamined. So is what every file of the family
    holds and no analyser looks at: speech in sound, words inside pictures.
    """

    def __call__(
        self, subject: Subject, probed: Probed, limits: Limits
    ) -> Iterator[Writing | Unexamined]: ...


class Classifier(Protocol):
    """A model that gives a picture scores by label; they add up to 1."""

    name: str

    def scores(self, frame: Array) -> Mapping[str, float]: ...
