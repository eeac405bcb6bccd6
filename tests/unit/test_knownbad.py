from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests import media, media_av
from uploadsvc.cli.blocklist import blocklist
from uploadsvc.verify import Array, Evidence, Sample, Subject, Unexamined, perceptual
from uploadsvc.verify.analysers.knownbad import KnownBad
from uploadsvc.verify.hashlists import (
    ALIKE,
    EXACT,
    READ_BYTES,
    HashLists,
    Hit,
    Mistake,
    place,
)

MILLION = 1_000_000
HASHES = st.binary(min_size=32, max_size=32)
SOURCE = KnownBad.name


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def flipped(entry: bytes, *bits: int) -> bytes:
    return (int.from_bytes(entry) ^ sum(1 << bit for bit in bits)).to_bytes(32)


def write(path: Path, entries: Sequence[bytes]) -> Path:
    path.write_text("".join(f"{each.hex()}\n" for each in entries))
    return path


def frame(seed: int = 1) -> Array:
    random = np.random.RandomState(seed)
    small = random.randint(0, 256, (24, 32, 3)).astype(np.uint8)
    return np.asarray(
        Image.fromarray(small).resize((320, 240), Image.Resampling.BICUBIC)
    )


def encoded(pixels: Array, name: str, **options: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, name, **options)
    return file.getvalue()


def film(path: Path, codec: str, size: tuple[int, int], gop: int) -> Path:
    """Three scenes of a second each, with a keyframe every ``gop`` of 12 frames a second."""
    with av.open(f"file:{path}", "w") as container:
        stream = container.add_stream(codec, rate=12, options={"g": str(gop)})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for nth in range(36):
            scene = av.VideoFrame.from_ndarray(frame(nth // 12), "rgb24")
            shown = scene.reformat(*size, "yuv420p")
            shown.pts, shown.time_base = nth, Fraction(1, 12)
            container.mux(stream.encode(shown))
        container.mux(stream.encode())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "lists"
    path.mkdir()
    return path


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    path = tmp_path / "upload"
    path.write_bytes(b"something known")
    return Subject(path, tmp_path)


def of_file(known: KnownBad, subject: Subject) -> list[Evidence | Unexamined]:
    return list(known.file(subject, "image/png"))


def of_picture(known: KnownBad, pixels: Array) -> list[Evidence | Unexamined]:
    return list(known.picture(Sample(12.4, pixels), "second 12.4"))


# The analyser


def test_listed_file_is_found(folder: Path, subject: Subject) -> None:
    write(folder / "a.sha256", [hashlib.sha256(subject.path.read_bytes()).digest()])

    found = of_file(KnownBad(folder), subject)

    assert found == [Evidence(SOURCE, "sha256", 1.0, "file")]


def test_file_that_is_not_listed_is_not_found(folder: Path, subject: Subject) -> None:
    write(folder / "a.sha256", [digest(1), digest(2)])

    found = of_file(KnownBad(folder), subject)

    assert found == []


def test_listed_picture_is_found_and_says_where(folder: Path) -> None:
    write(folder / "a.phash", perceptual.hashes(frame())[:1])

    found = of_picture(KnownBad(folder), frame())

    assert found == [Evidence(SOURCE, "perceptual", 1.0, "second 12.4")]


def test_mirrored_picture_is_found(folder: Path) -> None:
    write(folder / "a.phash", perceptual.hashes(frame())[:1])

    found = of_picture(KnownBad(folder), frame()[:, ::-1])

    assert [each.label for each in found if isinstance(each, Evidence)] == [
        "perceptual"
    ]


def test_score_falls_with_the_distance_of_the_nearest(folder: Path) -> None:
    straight = perceptual.hashes(frame())[0]
    write(folder / "a.phash", [flipped(straight, *range(9)), digest(1)])
    write(folder / "b.phash", [digest(2), flipped(straight, 4, 200)])

    found = of_picture(KnownBad(folder), frame())

    assert found == [Evidence(SOURCE, "perceptual", 1 - 2 / 256, "second 12.4")]


def test_other_picture_is_not_found(folder: Path) -> None:
    write(folder / "a.phash", perceptual.hashes(frame(1))[:1])

    found = of_picture(KnownBad(folder), frame(2))

    assert found == []


def test_flat_picture_is_not_found_though_a_flat_one_is_listed(folder: Path) -> None:
    write(folder / "a.phash", [bytes(32)])

    found = of_picture(KnownBad(folder), np.zeros((48, 64, 3), np.uint8))

    assert found == []


@pytest.mark.parametrize("lists", [(), ("a.sha256",), ("a.sha256", "a.phash")])
def test_nothing_is_found_in_empty_lists(
    folder: Path, subject: Subject, lists: Sequence[str]
) -> None:
    for name in lists:
        (folder / name).touch()
    known = KnownBad(folder)

    found = of_file(known, subject) + of_picture(known, frame())

    assert found == []


def test_nothing_is_found_without_a_folder(subject: Subject) -> None:
    known = KnownBad(None)

    found = of_file(known, subject) + of_picture(known, frame())

    assert found == []


def test_words_are_not_looked_at(folder: Path) -> None:
    write(folder / "a.sha256", [digest(1)])

    found = list(KnownBad(folder).words("title", digest(1).hex()))

    assert found == []


def test_folder_that_is_missing_is_said(tmp_path: Path, subject: Subject) -> None:
    known = KnownBad(tmp_path / "lists")

    (said,) = of_file(known, subject)

    assert isinstance(said, Unexamined)
    assert (said.source, said.what, said.where) == (SOURCE, "unreadable_list", "file")
    assert str(tmp_path) not in said.why


def test_list_that_cannot_be_read_is_said_and_the_others_are_used(
    folder: Path, subject: Subject
) -> None:
    (folder / "a.sha256").mkdir()
    write(folder / "b.sha256", [hashlib.sha256(subject.path.read_bytes()).digest()])

    said, found = of_file(KnownBad(folder), subject)

    assert isinstance(said, Unexamined)
    assert "a.sha256" in said.why
    assert isinstance(found, Evidence)


def test_link_that_leads_nowhere_is_said(folder: Path, subject: Subject) -> None:
    (folder / "a.sha256").symlink_to(folder / "gone")

    (said,) = of_file(KnownBad(folder), subject)

    assert isinstance(said, Unexamined)


# Change


def test_entry_that_is_appended_is_found_by_the_next_job(
    folder: Path, subject: Subject
) -> None:
    path = write(folder / "a.sha256", [digest(1)])
    known = KnownBad(folder)
    with path.open("a") as file:
        file.write(hashlib.sha256(subject.path.read_bytes()).hexdigest())

    found = of_file(known, subject)

    assert len(found) == 1


def test_file_replaced_by_one_of_its_size_and_time_is_read_anew(folder: Path) -> None:
    path = write(folder / "a.sha256", [digest(1)])
    lists = HashLists(folder)
    times = path.stat()
    new = write(folder / ".new", [digest(2)])
    os.utime(new, ns=(times.st_atime_ns, times.st_mtime_ns))
    new.replace(path)

    lists.refresh()

    assert lists.find(EXACT, [digest(2)])
    assert not lists.find(EXACT, [digest(1)])


def test_list_that_comes_is_found_and_one_that_goes_is_forgotten(folder: Path) -> None:
    gone = write(folder / "a.sha256", [digest(1)])
    lists = HashLists(folder)
    gone.unlink()
    write(folder / "b.sha256", [digest(2)])

    lists.refresh()

    assert lists.find(EXACT, [digest(2)])
    assert not lists.find(EXACT, [digest(1)])


def test_unchanged_list_is_not_read_again(folder: Path) -> None:
    write(folder / "a.sha256", [digest(1)])
    lists = HashLists(folder)
    before = lists.count(EXACT), list(lists._files.values())

    lists.refresh()

    assert before == (lists.count(EXACT), list(lists._files.values()))


def test_list_that_can_no_longer_be_read_stays_in_use_and_is_said(folder: Path) -> None:
    path = write(folder / "a.sha256", [digest(1)])
    lists = HashLists(folder)
    path.unlink()
    path.mkdir()

    lists.refresh()

    assert lists.faults == ("a.sha256: Is a directory",)
    assert lists.find(EXACT, [digest(1)])


def test_folder_that_vanishes_leaves_the_lists_in_use_and_is_said(folder: Path) -> None:
    path = write(folder / "a.sha256", [digest(1)])
    lists = HashLists(folder)
    path.unlink()
    folder.rmdir()

    lists.refresh()

    assert lists.faults
    assert lists.find(EXACT, [digest(1)])


def test_list_rewritten_and_removed_while_it_is_read_does_no_harm(folder: Path) -> None:
    entries = [digest(number) for number in range(20_000)]
    path = write(folder / "a.sha256", entries)
    done = threading.Event()

    def rewrite() -> None:
        while not done.is_set():
            write(path, entries[: len(entries) // 3])
            path.unlink()
            write(path, entries)

    writer = threading.Thread(target=rewrite)
    writer.start()
    lists = HashLists(folder)
    for _ in range(30):
        lists.refresh()
    done.set()
    writer.join()

    lists.refresh()

    assert lists.count(EXACT) == len(entries)
    assert not lists.mistakes


# What a list file may look like


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "{}  holiday.jpg",
        "{} *holiday.jpg",
        "\\{}  two\\nlines.jpg",
        "  {}\tlabel",
        "{}\r",
        "{} # why",
        "\ufeff{}",
    ],
)
@pytest.mark.parametrize("case", [str.lower, str.upper])
@pytest.mark.parametrize("ending", ["\n", ""])
def test_line_is_an_entry(
    folder: Path, line: str, case: Callable[[str], str], ending: str
) -> None:
    content = line.format(case(digest(1).hex())) + ending
    (folder / "a.sha256").write_bytes(content.encode())

    lists = HashLists(folder)

    assert lists.find(EXACT, [digest(1)])
    assert lists.mistakes == []


def test_lines_that_say_nothing_are_no_mistakes(folder: Path) -> None:
    (folder / "a.sha256").write_text(f"# ours\n\n  \n   # more\r\n{digest(1).hex()}\n")

    lists = HashLists(folder)

    assert lists.count(EXACT) == 1
    assert lists.mistakes == []


@pytest.mark.parametrize(
    "line",
    [
        digest(1).hex()[:-1],
        digest(1).hex() + "0",
        digest(1).hex()[:-1] + "g",
        digest(1).hex() + ",holiday.jpg",
        f"SHA256 (holiday.jpg) = {digest(1).hex()}",
        digest(1).hex()[:30] + "  " + digest(1).hex()[32:],
        "no hash at all",
        "\x00" * 64,
    ],
)
def test_line_that_is_no_entry_is_kept_and_logged_and_the_others_count(
    folder: Path, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder / "a.sha256"
    path.write_text(f"{digest(2).hex()}\n{line}\n{digest(3).hex()}\n")

    lists = HashLists(folder)

    assert lists.mistakes == [Mistake(path, 2)]
    assert f"{path}:2: " in caplog.text
    assert lists.find(EXACT, [digest(2)])
    assert lists.find(EXACT, [digest(3)])
    assert lists.count(EXACT) == 2


def test_mistakes_far_down_have_the_right_line_and_their_number_is_bounded(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = [digest(number) for number in range(2 * READ_BYTES // 65)]
    path = write(folder / "a.sha256", good)
    with path.open("a") as file:
        file.write("wrong\n" * 1000)

    lists = HashLists(folder)

    assert lists.count(EXACT) == len(good)
    assert lists.mistakes[0] == Mistake(path, len(good) + 1)
    assert len(lists.mistakes) == 20
    assert "980 more" in caplog.text


def test_files_of_other_kinds_and_hidden_ones_are_no_lists(folder: Path) -> None:
    for name in ("notes.txt", ".a.sha256", "a.sha256~", "a.sha256.bak"):
        (folder / name).write_text("no hash")

    lists = HashLists(folder)

    assert lists.mistakes == []
    assert lists.faults == ()


# Looking up


@settings(max_examples=60, deadline=None)
@given(st.lists(HASHES, max_size=60), st.lists(HASHES, max_size=5))
def test_every_listed_hash_is_found_and_others_are_not(
    tmp_path_factory: pytest.TempPathFactory, listed: list[bytes], others: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("lists")
    edges = [bytes(32), b"\xff" * 32, digest(1)[:-2] + b"\0\0", b"\0\0" + digest(1)[2:]]
    path = write(folder / "a.sha256", listed + edges)

    lists = HashLists(folder)

    for each in (*listed, *edges):
        assert lists.find(EXACT, [each]) == Hit(path, each)
    for each in set(others) - {*listed, *edges}:
        assert lists.find(EXACT, [each]) is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(HASHES, min_size=1, max_size=60),
    st.integers(0, 59),
    st.sets(st.integers(0, 255), max_size=40),
)
def test_nearest_is_the_one_counting_every_bit_would_find(
    tmp_path_factory: pytest.TempPathFactory,
    listed: list[bytes],
    chosen: int,
    bits: set[int],
) -> None:
    folder = tmp_path_factory.mktemp("lists")
    write(folder / "a.phash", listed)
    wanted = flipped(listed[chosen % len(listed)], *bits)
    least = min(perceptual.distance(each, wanted) for each in listed)

    found = HashLists(folder).find(ALIKE, [wanted])

    if least > perceptual.DISTANCE:
        assert found is None
    else:
        assert found is not None
        assert found.distance == least == perceptual.distance(found.entry, wanted)


def test_the_very_opposite_is_not_alike(folder: Path) -> None:
    """256 bits apart is 0 in a count of eight bits."""
    write(folder / "a.phash", [digest(1)])

    found = HashLists(folder).find(ALIKE, [flipped(digest(1), *range(256))])

    assert found is None


def test_look_ups_among_a_million_are_right(folder: Path) -> None:
    content = np.random.default_rng(1).bytes(32 * MILLION)
    for name in ("a.sha256", "a.phash"):
        (folder / name).write_text(content.hex("\n", 32))
    some = [content[32 * at : 32 * at + 32] for at in (0, 1, 499_999, MILLION - 1)]

    lists = HashLists(folder)

    assert (lists.count(EXACT), lists.count(ALIKE)) == (MILLION, MILLION)
    assert lists.mistakes == []
    for each in some:
        near = flipped(each, *range(0, 248, 8))
        assert lists.find(EXACT, [each]) == Hit(folder / "a.sha256", each)
        assert lists.find(EXACT, [near]) is None
        assert lists.find(ALIKE, [near]) == Hit(folder / "a.phash", each, 31)
        assert lists.find(ALIKE, [flipped(near, 255)]) is None


def test_place_of_a_hit_is_its_line_and_words(folder: Path) -> None:
    path = folder / "a.sha256"
    path.write_text(f"# ours\n{digest(1).hex()}\n{digest(2).hex().upper()}  a b.jpg\n")

    found = HashLists(folder).find(EXACT, [digest(2)])

    assert found is not None
    assert place(found) == (3, "a b.jpg")


# The commands


def run(folder: Path, command: str, *arguments: str | Path) -> Result:
    words = [command, "--dir", str(folder), *map(str, arguments)]
    return CliRunner().invoke(blocklist, words)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "holiday.png"
    path.write_bytes(encoded(frame(), "PNG"))
    return path


def test_picture_that_was_added_is_found_by_both_kinds(
    folder: Path, picture: Path
) -> None:
    added = run(folder, "add", picture)

    tested = run(folder, "test", picture)

    assert added.exit_code == 0
    assert tested.exit_code == 1
    assert tested.stdout.splitlines() == [
        "file: own.sha256:1 distance 0 holiday.png",
        "frame 0: own.phash:1 distance 0 holiday.png frame 0",
    ]


def test_copy_of_a_picture_that_was_added_is_found(folder: Path, picture: Path) -> None:
    run(folder, "add", picture)
    copy = picture.with_name("other.jpg")
    copy.write_bytes(encoded(frame()[::2, ::2], "JPEG", quality=40))

    tested = run(folder, "test", copy)

    assert tested.exit_code == 1
    assert tested.stdout.startswith("frame 0: own.phash:1 distance ")


def test_picture_that_was_not_added_is_clean(folder: Path, picture: Path) -> None:
    run(folder, "add", picture)
    other = picture.with_name("other.png")
    other.write_bytes(encoded(frame(2), "PNG"))

    tested = run(folder, "test", other)

    assert tested.exit_code == 0
    assert "not in the lists (2 entries)" in tested.stdout


def test_lists_that_were_written_stop_an_upload(
    folder: Path, picture: Path, tmp_path: Path
) -> None:
    known = KnownBad(folder)
    run(folder, "add", picture)

    found = of_file(known, Subject(picture, tmp_path)) + of_picture(known, frame())

    assert [each.label for each in found if isinstance(each, Evidence)] == [
        "sha256",
        "perceptual",
    ]


@pytest.mark.parametrize(
    ("kind", "lists"), [("sha256", ["x.sha256"]), ("perceptual", ["x.phash"])]
)
def test_only_the_kind_asked_for_is_added_to_the_list_named(
    folder: Path, picture: Path, kind: str, lists: list[str]
) -> None:
    added = run(folder, "add", picture, "--list", "x", "--kind", kind)

    assert added.exit_code == 0
    assert [path.name for path in folder.iterdir()] == lists


def test_adding_twice_lists_once(folder: Path, picture: Path) -> None:
    run(folder, "add", picture)

    added = run(folder, "add", picture)

    assert added.stdout.splitlines() == [
        "own.sha256: 0 added, 1 known",
        "own.phash: 0 added, 1 known",
    ]
    assert HashLists(folder).count(EXACT) == 1


def test_entry_is_added_behind_a_last_line_that_was_not_ended(
    folder: Path, picture: Path
) -> None:
    (folder / "own.sha256").write_text(digest(1).hex())

    run(folder, "add", picture, "--kind", "sha256")

    lists = HashLists(folder)
    assert lists.count(EXACT) == 2
    assert lists.mistakes == []


def test_film_is_found_by_its_keyframes_though_encoded_anew(
    folder: Path, tmp_path: Path
) -> None:
    original = film(tmp_path / "film.mp4", "libx264", (320, 240), 12)
    copy = film(tmp_path / "copy.webm", "libvpx", (160, 120), 5)
    added = run(folder, "add", original, "--kind", "perceptual")

    tested = run(folder, "test", copy)

    assert added.stdout == "own.phash: 3 added, 0 known\n"
    assert tested.exit_code == 1
    assert "second 0: own.phash:1 distance " in tested.stdout
    assert "second 1: own.phash:2 distance " in tested.stdout


def test_add_goes_on_after_a_file_that_cannot_be_read(
    folder: Path, picture: Path
) -> None:
    damaged = picture.with_name("damaged.png")
    damaged.write_bytes(picture.read_bytes()[:200])

    added = run(folder, "add", picture.with_name("none.png"), damaged, picture)

    assert added.exit_code == 2
    assert "none.png: No such file" in added.stderr
    assert "damaged.png: " in added.stderr
    assert HashLists(folder).count(ALIKE) == 1


def test_flat_picture_is_listed_by_its_bytes_alone(
    folder: Path, tmp_path: Path
) -> None:
    flat = tmp_path / "flat.png"
    flat.write_bytes(encoded(np.zeros((48, 64, 3), np.uint8), "PNG"))

    added = run(folder, "add", flat)

    assert added.exit_code == 0
    assert "no picture in it shows enough" in added.stdout
    assert run(folder, "test", flat).exit_code == 1


def test_file_of_no_known_type_is_compared_by_its_bytes(
    folder: Path, subject: Subject
) -> None:
    added = run(folder, "add", subject.path)

    tested = run(folder, "test", subject.path)

    assert added.exit_code == 0
    assert tested.exit_code == 1
    assert tested.stdout == "file: own.sha256:1 distance 0 upload\n"


def test_sound_has_no_pictures_and_is_compared_by_its_bytes(
    folder: Path, tmp_path: Path
) -> None:
    sound = media_av.m4a(tmp_path / "tone.m4a", seconds=1)

    tested = run(folder, "test", sound)

    assert tested.exit_code == 0


def test_name_of_a_file_cannot_add_a_line(folder: Path, picture: Path) -> None:
    sly = picture.rename(picture.with_name(f"a\n{digest(1).hex()}"))

    run(folder, "add", sly, "--kind", "sha256")

    assert HashLists(folder).count(EXACT) == 1


@pytest.mark.parametrize("name", ["../own", ".own", "a/b", "", "a b"])
def test_list_cannot_be_named_out_of_the_folder(
    folder: Path, picture: Path, name: str
) -> None:
    added = run(folder, "add", picture, "--list", name)

    assert added.exit_code == 2
    assert list(folder.iterdir()) == []


def test_test_tells_lines_that_are_no_entries(folder: Path, picture: Path) -> None:
    (folder / "a.sha256").write_text("wrong\n")

    tested = run(folder, "test", picture)

    assert tested.exit_code == 0
    assert "a.sha256:1: " in tested.stderr


def test_test_does_not_call_clean_what_a_list_could_not_be_asked_about(
    folder: Path, picture: Path
) -> None:
    (folder / "a.sha256").mkdir()

    tested = run(folder, "test", picture)

    assert tested.exit_code == 2
    assert "not in the lists" not in tested.stdout


def test_test_does_not_call_clean_a_picture_that_is_damaged(
    folder: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(media.jpeg()[:300])

    tested = run(folder, "test", damaged)

    assert tested.exit_code == 2


def test_folder_comes_from_the_environment(folder: Path, picture: Path) -> None:
    given = {"UPLOADSVC_BLOCKLIST_DIR": str(folder)}

    tested = CliRunner().invoke(blocklist, ["test", str(picture)], env=given)

    assert tested.exit_code == 0


def test_without_a_folder_the_command_says_so(picture: Path) -> None:
    tested = CliRunner().invoke(blocklist, ["test", str(picture)], env={})

    assert tested.exit_code == 2
    assert "UPLOADSVC_BLOCKLIST_DIR" in tested.stderr
