"""The words read out of real files, and what of them is said to be unexamined."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pikepdf
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from tests import media, media_av
from uploadsvc.model import Moderation, Progress, Verdict
from uploadsvc.verify import Limits, Subject, Unexamined, Writing
from uploadsvc.verify.formats import FORMATS
from uploadsvc.verify.formats.texts import FIELDS, READERS, TEXT_CHARS, TEXT_PAGES
from uploadsvc.verify.probe import FAMILIES, identify
from uploadsvc.verify.toolbox import Toolbox


@pytest.fixture(scope="module")
def toolbox() -> Toolbox:
    return Toolbox.load()


def read(path: Path, limits: Limits | None = None) -> list[Writing | Unexamined]:
    limits = limits or Limits()
    subject = Subject(path, path.parent)
    mime_type = identify(path)
    probed = FORMATS[FAMILIES[mime_type]].probe(subject, mime_type, limits)
    return list(READERS[probed.family](subject, probed, limits))


def words(path: Path) -> list[Writing]:
    return [each for each in read(path) if isinstance(each, Writing)]


def gaps(path: Path, limits: Limits | None = None) -> list[tuple[str, str]]:
    found = read(path, limits)
    return [(each.what, each.where) for each in found if isinstance(each, Unexamined)]


def saved(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def pdf(
    texts: Sequence[str], width: int = 600, chapters: int = 0, **info: str
) -> bytes:
    """A page for each text, in Helvetica."""
    file = io.BytesIO()
    with pikepdf.new() as made:
        font = pikepdf.Dictionary(
            Type=pikepdf.Name.Font,
            Subtype=pikepdf.Name.Type1,
            BaseFont=pikepdf.Name.Helvetica,
        )
        for text in texts:
            page = made.add_blank_page()
            page.MediaBox = pikepdf.Array([0, 0, width, 800])
            page.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F=font))
            drawn = f"BT /F 12 Tf 20 700 Td ({text}) Tj ET".encode()
            page.Contents = made.make_stream(drawn)
        with made.open_outline() as outline:
            outline.root += [
                pikepdf.OutlineItem(f"Chapter {nth}", nth) for nth in range(chapters)
            ]
        for name, value in info.items():
            made.docinfo[f"/{name}"] = value
        made.save(file)
    return file.getvalue()


def test_text_layer_of_a_pdf_is_read_page_by_page_with_its_metadata(
    tmp_path: Path,
) -> None:
    path = saved(tmp_path / "a.pdf", pdf(["Hello there", "", "Good bye"], Title="Mine"))

    found = words(path)

    assert Writing("metadata title", "Mine") in found
    pages = [each for each in found if each.field.startswith("page")]
    assert pages == [Writing("page 1", "Hello there"), Writing("page 3", "Good bye")]


def test_bookmarks_of_a_pdf_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pdf", pdf(["Hello"] * 2, chapters=2))

    assert Writing("bookmarks", "Chapter 0\nChapter 1") in words(path)


def test_words_drawn_on_pages_are_unexamined(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pdf", pdf(["Hello"]))

    assert gaps(path) == [("words_in_pictures", "pages")]


def test_pages_nobody_draws_are_beyond_the_bound(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pdf", pdf(["Hello"] * 3))

    found = gaps(path, Limits(sampled_pages=2))

    assert ("beyond_bound", "pages") in found


def test_pdf_with_more_text_than_is_read_says_from_which_page_on(
    tmp_path: Path,
) -> None:
    long = "word " * (TEXT_CHARS // 8)
    path = saved(tmp_path / "a.pdf", pdf([long, long, "the end"], width=200_000))

    found = words(path)

    assert [each.field for each in found] == ["page 1", "page 2"]
    assert sum(len(each.text) for each in found) == pytest.approx(TEXT_CHARS, abs=10)
    assert ("text_beyond_bound", "page 2") in gaps(path)


def test_pages_beyond_those_read_are_said_to_be_unread(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pdf", pdf([""] * (TEXT_PAGES + 1)))

    assert ("text_beyond_bound", f"page {TEXT_PAGES + 1}") in gaps(path)


@pytest.mark.parametrize(
    "make", [media_av.mp3, media_av.m4a, media_av.flac, media_av.ogg]
)
def test_tags_of_a_sound_are_read_and_its_speech_is_unexamined(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    path = make(tmp_path / "sound", 1, metadata={"title": "Some words"})

    assert Writing("metadata title", "Some words") in words(path)
    assert gaps(path) == [("speech", "sound")]


def test_film_with_sound_says_what_nobody_hears_and_reads(tmp_path: Path) -> None:
    path = media_av.mp4(tmp_path / "film", 1)

    assert Writing("metadata comment", "taken at home") in words(path)
    assert gaps(path) == [("speech", "sound"), ("words_in_pictures", "pictures")]


def test_silent_film_has_no_speech_to_examine(tmp_path: Path) -> None:
    path = media_av.mp4(tmp_path / "film", 1, audio=False)

    assert gaps(path) == [("words_in_pictures", "pictures")]


def test_film_of_more_moments_than_are_looked_at_is_beyond_the_bound(
    tmp_path: Path,
) -> None:
    path = media_av.mp4(tmp_path / "film", 4, audio=False)

    assert ("beyond_bound", "pictures") in gaps(path, Limits(sampled_frames=1))


def test_subtitles_are_read_and_say_from_which_second(tmp_path: Path) -> None:
    film = media_av.mp4(tmp_path / "film", 4, audio=False, gps=False)
    path = media_av.subtitled(tmp_path / "b", film, ["<i>one</i>", "x" * 1000, "two"])

    found = [each for each in words(path) if each.field.startswith("subtitles")]

    assert found == [
        Writing("subtitles, second 0", "one\n" + "x" * 1000),
        Writing("subtitles, second 2", "two"),
    ]


def test_words_in_the_metadata_of_a_jpeg_are_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "a description"
    exif[ExifTags.Base.XPTitle] = "a wide title".encode("utf-16-le")
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    inner[ExifTags.Base.UserComment] = b"ASCII\0\0\0a user's comment"
    xmp = "<x><dc:title><rdf:Alt><rdf:li>an &lt;xmp&gt; title</rdf:li></rdf:Alt></dc:title></x>"
    data = media.jpeg(gps=False, exif=exif, xmp=xmp.encode(), comment="a comment")

    found = words(saved(tmp_path / "a.jpg", data))

    assert set(found) == {
        Writing("metadata description", "a description"),
        Writing("metadata title", "a wide title"),
        Writing("metadata comment", "a user's comment"),
        Writing("metadata title", "an <xmp> title"),
        Writing("metadata comment", "a comment"),
    }


def test_field_with_a_name_of_its_own_making_is_called_a_field(tmp_path: Path) -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("\x1b[31mRed", "words")
    data = media.png(gps=False, pnginfo=notes)

    found = words(saved(tmp_path / "a.png", data))

    assert found == [Writing("metadata field", "words")]


def test_more_fields_than_are_read_are_said_to_be_unread(tmp_path: Path) -> None:
    notes = PngImagePlugin.PngInfo()
    for number in range(FIELDS + 1):
        notes.add_text(f"note {number}", f"words {number}")
    path = saved(tmp_path / "a.png", media.png(gps=False, pnginfo=notes))

    assert len(words(path)) == FIELDS
    assert gaps(path) == [
        ("text_beyond_bound", "metadata"),
        ("words_in_pictures", "picture"),
    ]


@pytest.mark.parametrize(
    "data",
    [media.jpeg(), media.png(), media.webp(), media.avif(), media.tiff(), media.heic()],
    ids=["jpeg", "png", "webp", "avif", "tiff", "heic"],
)
def test_every_kind_of_picture_is_read_without_a_word_too_many(
    data: bytes, tmp_path: Path
) -> None:
    path = saved(tmp_path / "picture", data)

    found = read(path)

    assert all("GPS" not in each.text for each in found if isinstance(each, Writing))
    assert gaps(path) == [("words_in_pictures", "picture")]


def test_broken_metadata_of_a_sound_picture_is_unexamined(tmp_path: Path) -> None:
    data = media.png(gps=False, exif=b"MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40)

    found = gaps(saved(tmp_path / "a.png", data))

    assert ("words_in_pictures", "picture") in found


def judged(toolbox: Toolbox, path: Path, title: str = "") -> Moderation:
    scratch = path.parent / "scratch"
    scratch.mkdir()
    *_, outcome = toolbox.verify(Subject(path, scratch, title, "", path.name))
    assert not isinstance(outcome, Progress)
    assert outcome.moderation is not None
    return outcome.moderation


def test_profane_page_of_a_pdf_is_held_and_the_page_is_named(
    toolbox: Toolbox, tmp_path: Path
) -> None:
    path = saved(tmp_path / "a.pdf", pdf(["Hello", "what the f*ck"]))

    moderation = judged(toolbox, path)

    assert moderation.verdict is Verdict.REVIEW
    assert moderation.reasons == ("text_profanity",)
    assert moderation.findings[0].where == "page 2"


def test_hateful_tag_of_a_sound_is_rejected_and_the_tag_is_named(
    toolbox: Toolbox, tmp_path: Path
) -> None:
    path = media_av.mp3(tmp_path / "a.mp3", 1, metadata={"title": "Gas the Jews"})

    moderation = judged(toolbox, path)

    assert moderation.verdict is Verdict.REJECT
    assert moderation.reasons == ("text_profanity",)
    assert moderation.findings[0].where == "metadata title"
    assert moderation.unexamined == ("speech",)


def test_photo_is_approved_with_all_that_was_found_and_not_examined(
    toolbox: Toolbox, tmp_path: Path
) -> None:
    path = saved(tmp_path / "holiday.jpg", media.jpeg())

    moderation = judged(toolbox, path, "Scunthorpe by the sea")

    assert moderation.verdict is Verdict.APPROVE
    assert moderation.unexamined == ("words_in_pictures",)
    assert [finding.label for finding in moderation.findings] == [
        "porn",
        "hentai",
        "sexy",
    ]
    assert moderation.models == (toolbox.analysers[0].model,)  # type: ignore[attr-defined]
