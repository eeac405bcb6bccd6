"""How a statement reaches the database without stopping the greenlets.

``sqlite3`` blocks: a locked database would hold the event loop for seconds. So every
transaction on SQLite runs on a small pool of real threads, and the greenlet that asked waits
for it while the others go on. A driver that cooperates with gevent is called directly.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from alembic import command
from alembic.config import Config
from gevent.threadpool import ThreadPool
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

T = TypeVar("T")

# SQLite has one writer at a time; a few threads let readers pass it.
THREADS = 4
BUSY_TIMEOUT_MS = 5000

READING = "uploadsvc_reading"


class Database:
    """An engine and the way to it. ``url`` is SQLAlchemy's."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._sqlite = make_url(url).get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(url) if self._sqlite else create_engine(url)
        self._threads = ThreadPool(THREADS) if self._sqlite else None

    def run(self, work: Callable[[Connection], T]) -> T:
        """``work`` in a transaction of its own: committed when it returns, else undone."""

        def transaction() -> T:
            with self.engine.begin() as connection:
                return work(connection)

        return self._on_a_thread(transaction)

    def read(self, work: Callable[[Connection], T]) -> T:
        """``work`` on a consistent view of the database; it must change nothing.

        Waits for no writer: in WAL mode a reader sees the last committed state.
        """

        def view() -> T:
            with self.engine.connect() as connection:
                reader = connection.execution_options(**{READING: True})
                with reader.begin():
                    return work(reader)

        return self._on_a_thread(view)

    def _on_a_thread(self, work: Callable[[], T]) -> T:
        if self._threads is None:
            return work()
        outcome, error = self._threads.apply(_caught, (work,))
        if error is not None:
            raise error
        return cast(T, outcome)

    def migrate(self) -> None:
        """Bring the schema up to date; from nothing, too."""
        config = Config()
        config.set_main_option("script_location", str(_migrations()))
        with self.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        self.engine.dispose()
        if self._threads is not None:
            self._threads.kill()


def _caught(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """gevent's pool prints the traceback of whatever flies out of a thread, though the
    caller gets it too; a refusal such as IdTaken is no fault and nothing to print."""
    try:
        return work(), None
    except Exception as error:
        return None, error


def _migrations() -> Path:
    return Path(__file__).parent / "migrations"


def _sqlite_engine(url: str) -> Engine:
    path = make_url(url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        # pysqlite opens transactions late and not for SELECT; we open them ourselves below.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        # FULL: a committed state survives a power cut, for it was acknowledged.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # IMMEDIATE takes the writer's place at once and waits for it; a transaction that
        # reads first and writes then would fail with "locked" without waiting.
        reading = connection.get_execution_options().get(READING)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine
