"""From settings to services: the one file that names concrete classes.

Everything else is handed what it needs and would work the same with a double.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import gevent

from uploadsvc import log, secret
from uploadsvc.db.engine import Database
from uploadsvc.db.media import SqlMedia
from uploadsvc.db.uploads import SqlUploads
from uploadsvc.hub.fanout import Fanout
from uploadsvc.hub.memory import MemoryHub
from uploadsvc.intake import Intake
from uploadsvc.listeners import Listeners
from uploadsvc.model import Media, Upload
from uploadsvc.moderate import Moderate
from uploadsvc.settings import Settings
from uploadsvc.storage.local import LocalStorage
from uploadsvc.verify.analysers import config, http, plugins
from uploadsvc.verify.analysers.http import HttpAnalyser
from uploadsvc.web.signing import SignedUrls
from uploadsvc.work.ending import Endings
from uploadsvc.work.local import LocalDispatcher
from uploadsvc.work.presence import Presence
from uploadsvc.work.run import Runner
from uploadsvc.work.supervisor import ChildVerifier
from uploadsvc.work.sweep import Sweeper

logger = log.get(__name__)

# Of the grace time this is left for the last answers to go out.
LAST_ANSWERS_S = 3.0
# And of that this for listeners, to hear of the last endings.
LAST_NEWS_S = 1.0


@dataclass
class Services:
    """Everything one web process has at hand, and its life: start, drain, close."""

    settings: Settings
    secret: str
    database: Database
    uploads: SqlUploads
    media: SqlMedia
    hub: MemoryHub
    storage: LocalStorage
    presence: Presence
    dispatcher: LocalDispatcher
    intake: Intake
    moderate: Moderate
    listeners: Listeners
    sweeper: Sweeper
    urls: SignedUrls
    engines: dict[str, HttpAnalyser]
    _greenlets: list[gevent.Greenlet] = field(default_factory=list)

    def start(self) -> None:
        """Bring the database up to date, recover what a dead process left, begin to work."""
        self.database.migrate()
        self.listeners.load()
        self.dispatcher.start()
        self.sweeper.sweep()
        self._greenlets.append(gevent.spawn(self.sweeper.keep_sweeping))

    def find(self, upload_id: str) -> tuple[Upload, Media | None] | None:
        """The upload and, where it has one, its record."""
        upload = self.uploads.find(upload_id)
        if upload is None:
            return None
        return upload, self.media.find(upload.media_id) if upload.media_id else None

    def leaving(self, upload_id: str) -> bool:
        """Whether this process goes away before it will have verified the upload."""
        return self.intake.closing and not self.dispatcher.at_work(upload_id)

    def drain(self) -> None:
        """The process is asked to stop: streams end at once, nothing new is begun, what
        runs may finish within the grace time, the rest is taken over by the next start."""
        ends = monotonic() + max(0.5, self.settings.grace_s - LAST_ANSWERS_S)
        self.intake.closing = True
        # It would take our own waiting uploads for abandoned ones.
        gevent.killall(self._greenlets)
        self.hub.drain()
        self.dispatcher.stop_taking()
        while monotonic() < ends and (self.intake.busy or self.dispatcher.busy):
            gevent.sleep(0.05)
        self.intake.cut_off()
        self.dispatcher.kill()
        self.listeners.finish(LAST_NEWS_S)

    def close(self) -> None:
        """Leave nothing running. Called once, last."""
        gevent.killall(self._greenlets)
        self.dispatcher.kill()
        self.listeners.close()
        for engine in self.engines.values():
            engine.close()
        self.presence.leave()
        self.database.close()


def build(settings: Settings, environ: Mapping[str, str]) -> Services:
    """Everything wired, nothing started.

    ``environ`` is where the policy's engines find their tokens. Raises PolicyError.
    """
    database = Database(settings.database)
    uploads, media = SqlUploads(database), SqlMedia(database)
    fanout = Fanout(
        max_streams=settings.max_streams, per_upload=settings.streams_per_upload
    )
    hub = MemoryHub(fanout)
    storage = LocalStorage(settings.storage_dir)
    presence = Presence(settings.data_dir / "run")
    listeners = Listeners()
    endings = Endings(uploads, hub, storage, tell=listeners.tell)
    runner = Runner(uploads, hub, storage, endings, presence.id)
    engines = _engines(settings, environ)
    verifiers = [
        ChildVerifier(
            {
                "policy": settings.policy_file,
                "lists": _lists(settings),
                "clamd": settings.clamd_socket,
                "memory_bytes": settings.verify_memory_bytes,
                "cpu_s": settings.verify_deadline_s,
                "readable": [str(settings.storage_dir / "incoming")],
                "writable": [str(settings.storage_dir / "scratch")],
            },
            deadline_s=settings.verify_deadline_s,
            engines=engines,
        )
        for _ in range(settings.verifiers_per_worker)
    ]
    dispatcher = LocalDispatcher(runner, hub, verifiers, max_queue=settings.max_queue)
    intake = Intake(
        uploads,
        hub,
        storage,
        dispatcher,
        endings,
        presence.id,
        max_bytes=settings.max_upload_bytes,
    )
    moderate = Moderate(uploads, media, storage, listeners.tell)
    sweeper = Sweeper(
        uploads,
        media,
        hub,
        storage,
        dispatcher,
        endings,
        presence,
        at_work=lambda upload_id: (
            dispatcher.at_work(upload_id) or intake.receiving(upload_id)
        ),
        retention_days=settings.retention_days,
    )
    own_secret = secret.load(settings)
    urls = SignedUrls(
        own_secret, lifetime_s=settings.media_url_s, base=settings.public_url
    )
    return Services(
        settings=settings,
        secret=own_secret,
        database=database,
        uploads=uploads,
        media=media,
        hub=hub,
        storage=storage,
        presence=presence,
        dispatcher=dispatcher,
        intake=intake,
        moderate=moderate,
        listeners=listeners,
        sweeper=sweeper,
        urls=urls,
        engines=engines,
    )


def _engines(settings: Settings, environ: Mapping[str, str]) -> dict[str, HttpAnalyser]:
    """Those of the policy on the network, one object each for all verifiers: what it knows of
    its engine's health, all of them should know."""
    if not settings.policy_file:
        return {}
    configured = config.from_file(Path(settings.policy_file), plugins.installed())
    return http.engines(configured.http, environ)


def _lists(settings: Settings) -> str:
    if settings.blocklist_dir or not settings.policy_file:
        return settings.blocklist_dir
    return str(config.lists_of(Path(settings.policy_file)) or "")
