from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pikepdf
import pytest
from PIL import Image

from tests import media
from uploadsvc.errors import InvalidMedia
from uploadsvc.verify import Kept, Limits, Probed, Sample, Subject
from uploadsvc.verify.formats.pdf import PdfFormat

FORMAT = PdfFormat()
LIMITS = Limits()
MIME_TYPE = "application/pdf"

Received = Callable[[bytes], Subject]


@pytest.fixture
def received(tmp_path: Path) -> Received:
    def receive(data: bytes) -> Subject:
        path, scratch = tmp_path / "received", tmp_path / "scratch"
        path.write_bytes(data)
        scratch.mkdir(exist_ok=True)
        return Subject(path, scratch)

    return receive


def probed(subject: Subject, limits: Limits = LIMITS) -> Probed:
    return FORMAT.probe(subject, MIME_TYPE, limits)


def samples(subject: Subject) -> list[Sample]:
    return list(FORMAT.samples(subject, probed(subject), LIMITS))


def kept(subject: Subject) -> Kept:
    *_shares, last = FORMAT.keep(subject, probed(subject))
    assert isinstance(last, Kept)
    return last


def plain(data: bytes) -> bytes:
    """With every stream unpacked, so that a search sees all of it."""
    file = io.BytesIO()
    with pikepdf.open(io.BytesIO(data)) as pdf:
        pdf.save(
            file,
            compress_streams=False,
            stream_decode_level=pikepdf.StreamDecodeLevel.generalized,
            object_stream_mode=pikepdf.ObjectStreamMode.disable,
        )
    return file.getvalue()


def test_sound_document_is_planned_by_its_pages_and_pictures(
    received: Received,
) -> None:
    subject = received(media.pdf(3))

    found = probed(subject)

    assert found == Probed("pdf", MIME_TYPE, 3 + 1)


def test_long_document_is_sampled_from_first_to_last_page(received: Received) -> None:
    subject = received(media.pdf(40))

    found = samples(subject)

    *pages, picture = found
    assert len(pages) == LIMITS.sampled_pages
    assert (pages[0].at, pages[-1].at) == (0, 39)
    assert picture.at == 0


def test_picture_beyond_the_pages_drawn_is_looked_at(received: Received) -> None:
    subject = received(media.pdf(3))
    limits = Limits(sampled_pages=1)

    planned = probed(subject, limits)
    found = list(FORMAT.samples(subject, planned, limits))

    assert not planned.whole
    assert len(found) == planned.plan == 2
    assert found[1].frame is not None
    assert found[1].frame.shape == (48, 64, 3)


def test_pictures_of_a_document_are_bounded(received: Received) -> None:
    subject = received(media.pdf(3))

    planned = probed(subject, Limits(embedded_pictures=0))

    assert (planned.plan, planned.whole) == (3, False)


def test_sample_shows_the_page(received: Received) -> None:
    subject = received(media.pdf(1))

    sample, _photo = samples(subject)

    assert sample.frame is not None
    assert (sample.frame.shape, sample.frame.dtype) == ((342, 512, 3), np.uint8)
    assert (sample.frame[2, 2] == 255).all()
    red, green, _blue = sample.frame[100, 100]
    assert red > 200 > green


@pytest.mark.parametrize("size", [(1e7, 1e7), (1e6, 1), (0.01, 0.01), (0, 0)])
def test_absurd_page_is_drawn_at_a_bounded_size(
    size: tuple[float, float], received: Received
) -> None:
    subject = received(media.pdf(1, size=size))

    sample, _photo = samples(subject)

    assert sample.frame is not None
    assert max(sample.frame.shape) <= 512


def test_kept_document_has_no_metadata_scripts_or_attachments(
    received: Received,
) -> None:
    subject = received(media.pdf(2))

    data = plain((subject.scratch / kept(subject).original).read_bytes())

    active = [b"JavaScript", b"OpenAction", b"EmbeddedFile", b"app.alert", b"xmpmeta"]
    assert not media.marks(data)
    assert not [word for word in active if word in data]


def test_received_document_had_what_is_gone_from_the_kept(received: Received) -> None:
    data = plain(media.pdf(2))

    assert set(media.marks(data)) == set(media.MARKS)


def test_kept_document_looks_the_same(received: Received) -> None:
    # Its photo is a resource named /AA, which elsewhere means scripts to be dropped.
    subject = received(media.pdf(1))
    before, _photo = samples(subject)

    data = (subject.scratch / kept(subject).original).read_bytes()

    after, _photo = samples(received(data))
    assert before.frame is not None
    assert (after.frame == before.frame).all()


def test_links_stay_in_the_kept_document(received: Received) -> None:
    file = io.BytesIO()
    with pikepdf.open(io.BytesIO(media.pdf(1, secrets=False))) as pdf:
        action = pikepdf.Dictionary(S=pikepdf.Name.URI, URI="https://example.org/")
        link = pikepdf.Dictionary(
            Subtype=pikepdf.Name.Link, Rect=[0, 0, 9, 9], A=action
        )
        pdf.pages[0].Annots = pikepdf.Array([link])
        pdf.save(file)
    subject = received(file.getvalue())

    data = plain((subject.scratch / kept(subject).original).read_bytes())

    assert b"https://example.org/" in data


def test_facts_are_those_of_the_kept_file(received: Received) -> None:
    subject = received(media.pdf(2))

    *shares, found = FORMAT.keep(subject, probed(subject))

    assert isinstance(found, Kept)
    data = (subject.scratch / found.original).read_bytes()
    assert found.facts.size == len(data)
    assert found.facts.sha256 == hashlib.sha256(data).hexdigest()
    assert shares == [0.4, 0.8, 1.0]


def test_thumbnail_is_the_first_page(received: Received) -> None:
    subject = received(media.pdf(2))

    found = kept(subject)

    assert found.thumbnail is not None
    with Image.open(subject.scratch / found.thumbnail) as image:
        assert (image.format, image.size) == ("WEBP", (512, 342))
    assert len(found.facts.blurhash or "") == 28
    assert found.facts.codec is None


@pytest.mark.parametrize("linearize", [False, True])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
def test_cut_document_is_refused(
    share: float, linearize: bool, received: Received
) -> None:
    # qpdf would repair it into a whole document of fewer pages.
    file = io.BytesIO()
    with pikepdf.open(io.BytesIO(media.pdf(5))) as pdf:
        pdf.save(file, linearize=linearize)
    subject = received(media.truncated(file.getvalue(), share))

    with pytest.raises(InvalidMedia):
        probed(subject)


def test_document_with_a_broken_page_is_refused(received: Received) -> None:
    file = io.BytesIO()
    with pikepdf.open(io.BytesIO(media.pdf(1))) as pdf:
        pdf.pages[0].Contents.write(b"not deflated", filter=pikepdf.Name.FlateDecode)
        pdf.save(
            file,
            compress_streams=False,
            stream_decode_level=pikepdf.StreamDecodeLevel.none,
        )
    subject = received(file.getvalue())

    with pytest.raises(InvalidMedia):
        probed(subject)


@pytest.mark.parametrize(
    ("password", "reason"), [("open sesame", "password"), ("", "encrypted")]
)
def test_encrypted_document_is_refused_with_the_reason(
    password: str, reason: str, received: Received
) -> None:
    subject = received(media.pdf_encrypted(password))

    with pytest.raises(InvalidMedia, match=reason):
        probed(subject)


def test_document_without_pages_is_refused(received: Received) -> None:
    subject = received(media.pdf(0))

    with pytest.raises(InvalidMedia, match="no pages"):
        probed(subject)


def test_document_of_too_many_pages_is_refused(received: Received) -> None:
    subject = received(media.pdf(3))

    with pytest.raises(InvalidMedia, match="more than 2 pages"):
        probed(subject, Limits(max_pages=2))


@pytest.mark.parametrize("layers", [1, 2])
def test_document_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(
    layers: int, received: Received
) -> None:
    packed = b" " * 2_000_000
    for _ in range(layers):
        packed = zlib.compress(packed, 9)
    file = io.BytesIO()
    with pikepdf.open(io.BytesIO(media.pdf())) as made:
        made.pages[0].Contents = made.make_stream(b"")
        made.pages[0].Contents.write(
            packed, filter=pikepdf.Array([pikepdf.Name.FlateDecode] * layers)
        )
        made.save(file)
    subject = received(file.getvalue())

    with pytest.raises(InvalidMedia, match="unpacks"):
        PdfFormat().probe(subject, "application/pdf", Limits(max_pixels=600_000))
