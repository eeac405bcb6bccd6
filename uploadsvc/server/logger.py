"""gunicorn's log through ours: the same shape, the same redaction (``uploadsvc.log``)."""

from __future__ import annotations

from typing import Any

from gunicorn.glogging import Logger


class QuietLogger(Logger):  # type: ignore[misc]
    """Hands gunicorn's messages to the root logger.

    gunicorn repeats request lines in some errors; the root's formatter takes the secret
    arguments out of them.
    """

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            logger.handlers = []
            logger.propagate = True
