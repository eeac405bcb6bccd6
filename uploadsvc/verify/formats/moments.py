"""Which pictures of a film are looked at, chosen from its packets before anything is decoded.

Keyframes decode alone and cheaply, and encoders place one where the scene changes. The law:
of every scene that begins with a keyframe and stays for ``SCENE_S`` one picture is looked at,
and of shorter scenes too as long as that makes no more than ``PLENTY`` pictures.
Where keyframes stand further apart than ``SPARSE_S`` moments between them are added, each
decoded from the keyframe before it: otherwise a film with a single, harmless keyframe would
pass unseen. Added are, too, pictures between keyframes that leap out by their size.

All have a bound, and a choice that met one says so: ``Choice.whole`` is False.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from uploadsvc.verify.formats.survey import Moment

SCENE_S = 2.0
# x264's default is a keyframe every 250 frames at the latest: 10.4 s of a film at 24 a second.
# To go through such gaps as well would be to decode the whole film.
SPARSE_S = 10.5
PLENTY = 200
# Of what may be decoded between keyframes. In wild films many pictures are large; the cuts that
# x264 makes no keyframe of are at most 25 frames behind one.
LEAPS_SHARE = 0.1
# Lengths of scenes none of which is to be missed, tried in turn; of 0, every keyframe is taken.
LENGTHS_S = (0.0, 0.5, 1.0, SCENE_S)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choice:
    """``moments`` grow; ``whole`` says that the law above holds for them."""

    moments: tuple[Moment, ...]
    whole: bool


def choose(
    entrances: Sequence[Moment],
    base: Fraction,
    duration_s: float,
    *,
    leaps: Sequence[Moment] = (),
    most: int,
    most_between_s: float,
) -> Choice:
    """At most ``most`` moments. ``most_between_s`` is how many seconds of film may be decoded
    for the moments between keyframes."""
    between, whole = _between(entrances, base, duration_s, most_between_s)
    near = _near(leaps, base, most_between_s * LEAPS_SHARE)
    everything = sorted({*entrances, *between, *near})
    chosen: list[Moment] = []
    for length_s in LENGTHS_S:
        chosen = _thinned(everything, max(int(length_s / base), 1))
        if len(chosen) <= min(PLENTY, most):
            break
    return Choice(tuple(spread(chosen, most)), whole and len(chosen) <= most)


def spread(items: Sequence[T], count: int) -> list[T]:
    """``count`` of the items, evenly spread, each once; all where there are fewer."""
    if len(items) <= count:
        return list(items)
    return [items[(2 * nth + 1) * len(items) // (2 * count)] for nth in range(count)]


def _between(
    entrances: Sequence[Moment], base: Fraction, duration_s: float, most_s: float
) -> tuple[list[Moment], bool]:
    """A moment every ``SCENE_S`` in gaps without a keyframe, and whether that is all of them.

    Where it may not be all, each gap is gone through for the same share of its length.
    """
    if not entrances:
        return [], True
    end = max(entrances[0].at + int(duration_s / base), entrances[-1].at + 1)
    followers = [*(following.at for following in entrances[1:]), end]
    gaps = [
        (entrance, following - entrance.at)
        for entrance, following in zip(entrances, followers, strict=True)
        if (following - entrance.at) * base > SPARSE_S
    ]
    in_all_s = float(sum(length for _, length in gaps) * base)
    share = min(most_s / in_all_s, 1.0) if gaps else 1.0
    stride = max(round(SCENE_S / base), 1)
    found = [
        Moment(at, entrance.keyframe)
        for entrance, length in gaps
        for at in range(
            entrance.at + stride, entrance.at + max(int(length * share), 1), stride
        )
    ]
    return found, share == 1.0


def _near(leaps: Sequence[Moment], base: Fraction, most_s: float) -> list[Moment]:
    """Those nearest to their keyframe, as many as may be reached: beyond the law, so that
    leaving some out does not break it."""
    reached: list[Moment] = []
    for leap in sorted(leaps, key=lambda leap: leap.at - leap.keyframe):
        most_s -= float((leap.at - leap.keyframe) * base)
        if most_s < 0:
            break
        reached.append(leap)
    return reached


def _thinned(moments: Sequence[Moment], scene: int) -> list[Moment]:
    """The fewest moments of which every stretch of ``scene`` that begins at one holds one.

    A camera that makes a keyframe every second is looked at every other second; the keyframe
    of a cut is only left out where another one follows in the same scene.
    """
    starts = [moment.at for moment in moments]
    kept: list[Moment] = []
    first = 0
    while first < len(moments):
        last = bisect_left(starts, starts[first] + scene) - 1
        kept.append(moments[last])
        first = last + 1
    return kept
