"""Commands for the known-bad lists: add a file to them, ask whether one is in them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from uploadsvc.errors import UnsupportedMedia, UploadError
from uploadsvc.verify import Limits, Subject, perceptual
from uploadsvc.verify.hashlists import ALIKE, EXACT, HashLists, place

HIT, FAILED = 1, 2

# Of a film that is listed: a copy of it has its keyframes elsewhere, so the more the better.
# A test looks at as many as verification does.
LISTED_FRAMES = 256
# Of one film, frames this near to one taken already are left out: it finds what they would.
SAME_SCENE = 8

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Shown:
    """Hashes of a picture in a file: as it lies and mirrored; none if it shows too little."""

    where: str
    hashes: tuple[bytes, ...]


def in_folder(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--dir",
        "folder",
        required=True,
        envvar="UPLOADSVC_BLOCKLIST_DIR",
        show_envvar=True,
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="The folder of list files.",
    )(command)


@click.group()
def blocklist() -> None:
    """Known-bad lists: what nobody may upload again."""


@blocklist.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--list", "name", default="own", show_default=True, help="Which list.")
@click.option(
    "--kind",
    type=click.Choice(["sha256", "perceptual", "both"]),
    default="both",
    show_default=True,
    help="sha256 finds the very file, perceptual its pictures scaled or encoded again.",
)
@in_folder
def add(folder: Path, files: tuple[Path, ...], name: str, kind: str) -> None:
    """Add the hashes of FILES to a list.

    Of an animation, a PDF or a film its single pictures are listed too. Leaves with 0, or 2 if
    there was a file that could not be added; the others are.
    """
    if not NAME.fullmatch(name):
        raise click.BadParameter("letters, digits and . _ - only", param_hint="--list")
    failed = False
    for file in files:
        try:
            if kind != "perceptual":
                _append(folder / f"{name}{EXACT}", [(_sha256(file), file.name)])
            if kind != "sha256":
                entries = _likenesses(file)
                _append(folder / f"{name}{ALIKE}", entries)
                if not entries:
                    click.echo(f"{file}: no picture in it shows enough for a hash")
                    failed |= kind == "perceptual"
        except UnsupportedMedia as error:
            # Its SHA-256 is listed: nobody can upload it, but who knows what comes.
            click.echo(f"{file}: no perceptual hash: {error.message}", err=True)
            failed |= kind == "perceptual"
        except (UploadError, OSError) as error:
            click.echo(f"{file}: {_why(error)}", err=True)
            failed = True
    sys.exit(FAILED if failed else 0)


@blocklist.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@in_folder
def test(folder: Path, file: Path) -> None:
    """Say which entries FILE would be stopped by, and which lines of the lists are none.

    Leaves with 1 if it is listed, 0 if not, 2 if that cannot be said: a list or the file
    could not be read.
    """
    lists = HashLists(folder)
    for problem in (*lists.mistakes, *lists.faults):
        click.echo(f"warning: {problem}", err=True)
    hit, unsure = False, bool(lists.faults)
    try:
        hit |= _told(lists, EXACT, (_sha256(file),), "file")
        for shown in _pictures(file, Limits()):
            hit |= _told(lists, ALIKE, shown.hashes, shown.where)
    except UnsupportedMedia:
        click.echo("no pictures to look at: compared by SHA-256 alone", err=True)
    except (UploadError, OSError) as error:
        click.echo(f"{file}: {_why(error)}", err=True)
        unsure = True
    if hit:
        sys.exit(HIT)
    if unsure:
        sys.exit(FAILED)
    entries = lists.count(EXACT) + lists.count(ALIKE)
    click.echo(f"{file}: not in the lists ({entries:,} entries)")


def _told(lists: HashLists, suffix: str, hashes: tuple[bytes, ...], where: str) -> bool:
    found = lists.find(suffix, hashes)
    if found is None:
        return False
    line, words = place(found)
    click.echo(
        f"{where}: {found.path.name}:{line} distance {found.distance} {words}".rstrip()
    )
    return True


def _likenesses(file: Path) -> list[tuple[bytes, str]]:
    taken: list[tuple[bytes, str]] = []
    for shown in _pictures(file, Limits(sampled_frames=LISTED_FRAMES)):
        for straight in shown.hashes[:1]:
            if all(perceptual.distance(straight, k) > SAME_SCENE for k, _ in taken):
                taken.append((straight, f"{file.name} {shown.where}"))
    return taken


def _pictures(file: Path, limits: Limits) -> Iterator[Shown]:
    """Raises UploadError where the file is not whole or of no type we know."""
    # Here, for the decoders take half a second to load and the other commands need none.
    from uploadsvc.verify.formats import FORMATS
    from uploadsvc.verify.probe import FAMILIES, identify

    mime_type = identify(file)
    with tempfile.TemporaryDirectory(prefix="uploadsvc-") as scratch:
        subject = Subject(file.absolute(), Path(scratch))
        probed = FORMATS[FAMILIES[mime_type]].probe(subject, mime_type, limits)
        unit = {"video": "second", "pdf": "page"}.get(probed.family, "frame")
        for sample in FORMATS[probed.family].samples(subject, probed, limits):
            if sample.frame is not None:
                hashes = perceptual.hashes(sample.frame)
                yield Shown(f"{unit} {round(sample.at, 1):g}", hashes)


def _append(path: Path, entries: list[tuple[bytes, str]]) -> None:
    """Whole lines in one write, behind a lock: two commands at once take turns, and a verifier
    that reads meanwhile sees complete lines or will look again."""
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        known = {line[:64].lower() for line in file}
        new = [each for each in entries if each[0].hex().encode() not in known]
        lines = "".join(f"{key.hex()}  {_plain(words)}\n" for key, words in new)
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                lines = "\n" + lines
        if new:
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())
    click.echo(f"{path.name}: {len(new)} added, {len(entries) - len(new)} known")


def _plain(words: str) -> str:
    printable = UNPRINTABLE.sub("?", words)
    return printable.encode(errors="replace").decode()


def _sha256(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def _why(error: UploadError | OSError) -> str:
    if isinstance(error, UploadError):
        return error.message
    return error.strerror or str(error)
