"""Logs: readable lines in development, one JSON object a line in production.

Every line may carry ``upload_id``; none carries a token, a ticket or a URL's arguments:
what we log are paths, never addresses with their query, and what others log (gunicorn
repeats the request line in some of its errors) passes :func:`redacted` on its way out.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

# Whatever a library puts into its message: the values of these arguments are secrets.
# A header line that lost its colon is repeated by gunicorn as it came.
SECRET = re.compile(r"\b((?:token|ticket|sig)=|(?i:bearer)\s+)[^&\s'\"\\]+")

# Without the values of local variables, which structlog and rich add unless told not to: a
# token or a piece of somebody's file is soon among them.
TRACEBACKS = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)


def configure(*, development: bool, level: str) -> None:
    """Set up structlog and the root logger, once a process. Lines go to stderr."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.typing.Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
        if development
        else [
            structlog.processors.ExceptionRenderer(TRACEBACKS),
            structlog.processors.JSONRenderer(),
        ]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *renderer,
            redacted,
        ],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.getLogger("alembic").setLevel(logging.WARNING)


def redacted(_: Any, __: str, line: str | MutableMapping[str, Any]) -> Any:
    """A rendered line without the values of secret arguments. A structlog processor."""
    return SECRET.sub(r"\1...", line) if isinstance(line, str) else line


def get(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
