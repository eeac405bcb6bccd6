"""What every storage promises (uploadsvc.storage). A further backend is one more name in
STORAGES; what only a folder can show stands at the end."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.house import DEADLINE_S
from uploadsvc.errors import StorageFull
from uploadsvc.storage import Storage
from uploadsvc.storage.local import LocalStorage

STORAGES: dict[str, Callable[[Path], Storage]] = {"local": LocalStorage}
UPLOAD_ID, MEDIA_ID = "upload_123", "media_123"


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return STORAGES[request.param](tmp_path)


@pytest.fixture
def local(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


def received(
    storage: Storage, data: bytes = b"data", upload_id: str = UPLOAD_ID
) -> None:
    incoming = storage.receive(upload_id)
    incoming.write(data)
    incoming.commit()


def promoted(storage: Storage, media_id: str = MEDIA_ID) -> None:
    with storage.scratch(UPLOAD_ID) as scratch:
        (scratch / "original.png").write_bytes(b"picture")
        (scratch / "thumbnail.webp").write_bytes(b"small")
        storage.promote(scratch, media_id, ["original.png", "thumbnail.webp"])


def fetched(storage: Storage, upload_id: str = UPLOAD_ID) -> bytes | None:
    try:
        with storage.fetch(upload_id) as path:
            return path.read_bytes()
    except FileNotFoundError:
        return None


@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.binary(max_size=100), max_size=10))
def test_committed_file_is_what_was_written_in_any_pieces(
    storage: Storage, pieces: list[bytes]
) -> None:
    incoming = storage.receive(UPLOAD_ID)

    for piece in pieces:
        incoming.write(piece)
    kept = incoming.commit()

    whole = b"".join(pieces)
    assert (kept.size, kept.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert incoming.size == len(whole)
    assert fetched(storage) == whole


def test_file_of_an_earlier_try_is_overwritten(storage: Storage) -> None:
    received(storage, b"a long file of an earlier try")

    received(storage, b"short")

    assert fetched(storage) == b"short"


@pytest.mark.parametrize("committed", [False, True])
def test_aborted_file_leaves_nothing_behind(storage: Storage, committed: bool) -> None:
    incoming = storage.receive(UPLOAD_ID)
    incoming.write(b"some")
    if committed:
        incoming.commit()

    incoming.abort()
    incoming.abort()

    assert fetched(storage) is None


def test_discarded_file_is_gone_and_discarding_again_is_no_error(
    storage: Storage,
) -> None:
    received(storage)

    storage.discard(UPLOAD_ID)
    storage.discard(UPLOAD_ID)

    assert fetched(storage) is None


def test_file_that_was_never_received_is_not_found(storage: Storage) -> None:
    with pytest.raises(FileNotFoundError), storage.fetch(UPLOAD_ID):
        pytest.fail("there is nothing to fetch")


def test_uploads_are_written_side_by_side(storage: Storage) -> None:
    contents = {f"upload_{n}": os.urandom(100_000) for n in range(12)}

    def receive(upload_id: str) -> None:
        incoming = storage.receive(upload_id)
        for start in range(0, 100_000, 10_000):
            incoming.write(contents[upload_id][start : start + 10_000])
        incoming.commit()

    gevent.joinall(
        [gevent.spawn(receive, each) for each in contents],
        timeout=DEADLINE_S,
        raise_error=True,
    )

    assert {each: fetched(storage, each) for each in contents} == contents


def test_scratch_folder_is_empty_and_gone_afterwards(storage: Storage) -> None:
    with storage.scratch(UPLOAD_ID) as first:
        (first / "left").write_bytes(b"left")

    with storage.scratch(UPLOAD_ID) as second:
        inside = list(second.iterdir())

    assert inside == []
    assert not second.exists()


def test_scratch_folder_of_a_crash_is_emptied(storage: Storage) -> None:
    with storage.scratch(UPLOAD_ID) as first:
        (first / "left").write_bytes(b"left")

        with storage.scratch(UPLOAD_ID) as second:
            inside = list(second.iterdir())

    assert inside == []


def test_promoted_files_are_opened_by_their_stems(storage: Storage) -> None:
    promoted(storage)

    original, thumbnail = (
        storage.open(MEDIA_ID, stem) for stem in ("original", "thumbnail")
    )

    assert original is not None
    assert thumbnail is not None
    assert original.path.read_bytes() == b"picture"
    assert thumbnail.path.read_bytes() == b"small"
    assert (original.name, thumbnail.name) == (
        f"{MEDIA_ID}/original.png",
        f"{MEDIA_ID}/thumbnail.webp",
    )


def test_promotion_is_of_all_files_or_none(storage: Storage) -> None:
    with storage.scratch(UPLOAD_ID) as scratch:
        (scratch / "original.png").write_bytes(b"picture")

        with pytest.raises(FileNotFoundError):
            storage.promote(scratch, MEDIA_ID, ["original.png", "thumbnail.webp"])

    assert storage.open(MEDIA_ID, "original") is None


def test_media_that_is_not_there_is_none(storage: Storage) -> None:
    promoted(storage)

    assert storage.open(MEDIA_ID, "waveform") is None
    assert storage.open("media_456", "original") is None


def test_deleted_media_is_gone_and_deleting_again_is_no_error(storage: Storage) -> None:
    promoted(storage)
    promoted(storage, "media_456")

    storage.delete(MEDIA_ID)
    storage.delete(MEDIA_ID)

    assert storage.open(MEDIA_ID, "original") is None
    assert storage.open("media_456", "original") is not None


def test_sweep_removes_what_belongs_to_no_upload(storage: Storage) -> None:
    received(storage, upload_id="upload_kept")
    received(storage, upload_id="upload_left")

    removed = storage.sweep({"upload_kept"}, older_than_s=-1)

    assert removed == 1
    assert fetched(storage, "upload_left") is None
    assert fetched(storage, "upload_kept") == b"data"


def test_sweep_leaves_what_is_young(storage: Storage) -> None:
    received(storage)

    assert storage.sweep((), older_than_s=3600) == 0
    assert fetched(storage) == b"data"


def test_sweep_never_touches_media(storage: Storage) -> None:
    promoted(storage)

    storage.sweep((), older_than_s=-1)

    assert storage.open(MEDIA_ID, "original") is not None


def test_storage_answers_and_leaves_no_trace(storage: Storage) -> None:
    storage.ping()

    assert storage.sweep((), older_than_s=-1) == 0


# --- a folder --------------------------------------------------------------------------


def test_full_disk_is_storage_full(local: LocalStorage, tmp_path: Path) -> None:
    """/dev/full answers every write as a full disk does."""
    (tmp_path / "incoming" / UPLOAD_ID).symlink_to("/dev/full")
    incoming = local.receive(UPLOAD_ID)

    with pytest.raises(StorageFull) as caught:
        incoming.write(b"data")

    incoming.abort()
    assert caught.value.facts["retry_after"] > 0
    assert list((tmp_path / "incoming").iterdir()) == []


BOUNDED = """
import resource, sys
from pathlib import Path
from uploadsvc.errors import StorageFull
from uploadsvc.storage.local import LocalStorage
incoming = LocalStorage(Path(sys.argv[1])).receive("upload_123")
resource.setrlimit(resource.RLIMIT_FSIZE, (5, 5))
try:
    incoming.write(b"more than five")
except StorageFull:
    print("full", incoming.size)
incoming.abort()
"""


def test_file_beyond_what_the_system_allows_is_storage_full(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.split() == ["full", "0"]
    assert list((tmp_path / "incoming").iterdir()) == []


def test_media_folder_holds_promoted_files_and_nothing_else(
    local: LocalStorage, tmp_path: Path
) -> None:
    """A front serves it by an alias."""
    received(local)
    promoted(local)

    names = {
        str(path.relative_to(tmp_path / "media"))
        for path in (tmp_path / "media").rglob("*")
        if path.is_file()
    }

    assert names == {f"{MEDIA_ID}/original.png", f"{MEDIA_ID}/thumbnail.webp"}
    assert list((tmp_path / "scratch").iterdir()) == []


def test_folder_that_cannot_be_written_does_not_answer(
    local: LocalStorage, tmp_path: Path
) -> None:
    (tmp_path / "incoming").rmdir()

    with pytest.raises(OSError, match="No such file"):
        local.ping()


def test_names_in_the_folder_are_ours_alone(
    local: LocalStorage, tmp_path: Path
) -> None:
    received(local)
    promoted(local)

    names = {path.name for path in tmp_path.rglob("*")}

    assert names == {
        "incoming",
        "scratch",
        "media",
        UPLOAD_ID,
        MEDIA_ID,
        "original.png",
        "thumbnail.webp",
    }


def test_sweep_goes_by_the_age_of_the_last_write(
    local: LocalStorage, tmp_path: Path
) -> None:
    received(local)
    before = time.time() - 7200
    os.utime(tmp_path / "incoming" / UPLOAD_ID, (before, before))

    assert local.sweep((), older_than_s=3600) == 1
