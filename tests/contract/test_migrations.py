"""The migrations and the tables say the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect

import uploadsvc.db
from uploadsvc.db.engine import Database
from uploadsvc.db.media import SqlMedia
from uploadsvc.db.tables import metadata
from uploadsvc.db.uploads import SqlUploads
from uploadsvc.model import Moderation, Verdict

MIGRATIONS = Path(uploadsvc.db.__file__).parent / "migrations"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'uploads.sqlite3'}")
    yield database
    database.close()


def alembic(database: Database, move: Any, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        move(config, revision)


def described(connection: Connection) -> dict[str, Any]:
    """Tables, columns and indexes as the database itself tells them."""
    inspector = inspect(connection)
    return {
        table: {
            "columns": {
                column["name"]: (
                    str(column["type"]),
                    column["nullable"],
                    column["primary_key"],
                )
                for column in inspector.get_columns(table)
            },
            "indexes": {
                (index["name"], tuple(index["column_names"]), index["unique"])
                for index in inspector.get_indexes(table)
            },
            "unique": {
                tuple(each["column_names"])
                for each in inspector.get_unique_constraints(table)
            },
        }
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def test_migrations_make_what_the_tables_say(database: Database) -> None:
    database.migrate()

    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)

    assert differences == []


def test_migrated_database_is_the_one_the_tables_would_make(
    database: Database, tmp_path: Path
) -> None:
    other = Database(f"sqlite:///{tmp_path / 'other.sqlite3'}")
    metadata.create_all(other.engine)

    database.migrate()

    with database.engine.connect() as migrated, other.engine.connect() as made:
        assert described(migrated) == described(made)
    other.close()


def test_migrating_again_changes_nothing(database: Database) -> None:
    database.migrate()

    database.migrate()

    with database.engine.connect() as connection:
        assert set(described(connection)) == {"uploads", "media", "decisions"}


def test_rows_of_the_first_version_are_read_by_this_one(database: Database) -> None:
    """They have no report: the verdict is there, its findings are not known."""
    alembic(database, command.upgrade, "0001")
    before = {
        "uploads": "id, user_id, state, created_at, updated_at, title, description, "
        "file_name, size, sha256, owner, attempts, generation, mark, media_id",
        "media": "id, upload_id, user_id, title, description, file_name, mime_type, size, "
        "sha256, verdict, reasons, has_thumbnail, created_at",
    }
    at = "2024-01-15 10:30:00.000000"
    rows = {
        "uploads": f"'upload_1', 'anna', 'complete', '{at}', '{at}', 'T', 'D', 'a.png', 7, "
        "'a', 'me', 1, 0, 0, 'media_1'",
        "media": "'media_1', 'upload_1', 'anna', 'T', 'D', 'a.png', 'image/png', 7, 'a', "
        f"'review', '[\"nudity\"]', 1, '{at}'",
    }
    with database.engine.begin() as connection:
        for table, columns in before.items():
            connection.exec_driver_sql(
                f"INSERT INTO {table} ({columns}) VALUES ({rows[table]})"
            )

    database.migrate()

    upload = SqlUploads(database).find("upload_1")
    (media,) = SqlMedia(database).waiting_for_review(10, None)
    assert upload is not None
    assert (upload.media_id, upload.moderation) == ("media_1", None)
    assert media.moderation == Moderation(Verdict.REVIEW, ("nudity",))


def test_every_migration_can_be_taken_back_and_made_again(database: Database) -> None:
    database.migrate()
    with database.engine.connect() as connection:
        before = described(connection)

    alembic(database, command.downgrade, "base")
    with database.engine.connect() as connection:
        nothing = described(connection)
    alembic(database, command.upgrade, "head")

    with database.engine.connect() as connection:
        assert described(connection) == before
    assert nothing == {}
