"""The life of a gunicorn worker: start the services, end the streams when it is asked to go.

gunicorn calls no hook in a gevent worker on SIGTERM; it clears ``worker.alive`` and waits for
every open connection, and an open stream would hold it for the whole grace time. So a
greenlet watches ``alive``.

gunicorn.conf.py imports this in the master, before a worker patches the standard library for
gevent. So nothing is imported here that opens sockets or speaks TLS.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any, cast

import gevent

from uploadsvc import log

if TYPE_CHECKING:
    from uploadsvc.wiring import Services

WATCH_S = 0.1
FILES_A_STREAM = 2  # a stream's socket, and as much again for all the rest

logger = log.get(__name__)


def raise_file_limit(streams: int) -> None:
    """As many descriptors as the streams may need, as far as the system lets us."""
    wanted = streams * FILES_A_STREAM + 1024
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unbounded = hard == resource.RLIM_INFINITY
    enough = wanted if unbounded else min(hard, wanted)
    if soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


def started(worker: Any) -> None:
    """``post_worker_init`` of gunicorn."""
    services = _services(worker)
    services.start()
    gevent.spawn(_watch, worker, services)


def ended(worker: Any) -> None:
    """``worker_exit`` of gunicorn."""
    if getattr(worker, "flask", None) is not None:
        _services(worker).close()


def _services(worker: Any) -> Services:
    from uploadsvc.web.current import EXTENSION

    return cast("Services", worker.flask.extensions[EXTENSION])


def _watch(worker: Any, services: Services) -> None:
    while worker.alive:
        gevent.sleep(WATCH_S)
    logger.info("draining")
    worker.end_idle()
    services.drain()
    worker.end_idle()
