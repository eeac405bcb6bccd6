"""An engine on the network, asked about one picture by one POST. docs/analysers.md has the
schema of its answer.

Runs in the web process, for the verifier child has no network (:mod:`uploadsvc.verify.broker`
is how its questions get here), or in ``uploadsvc verify``. httpx and ``time.sleep`` wait for
one greenlet alone once gevent has patched the process; nothing here knows of it.

An engine that is down, or slow, or talks nonsense, is an answer that failed, never an
exception and never "nothing found". Tried again is what may pass (no connection, no answer
in time, 408, 425, 429, 5xx); the same counts for the breaker, and so does an answer that is
none of ours. Another 4xx is about that one picture, or about our token: the engine lives.
"""

from __future__ import annotations

import json
import secrets
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from random import random
from typing import Any, Self

import httpx

from uploadsvc import __version__, log, wire
from uploadsvc.verify.analysers.breaker import Breaker
from uploadsvc.verify.analysers.config import TABLE, HttpConfig
from uploadsvc.verify.broker import Answer, Labelled
from uploadsvc.verify.policy import PolicyError

logger = log.get(__name__)

MAX_ANSWER_BYTES = 64 * 1024
MAX_LABELS = 200
MAX_NAME = 100  # characters of a label, of a model's name
PASSES = frozenset({408, 425, 429})  # and every 5xx
PAUSE_S = 0.2  # before the second attempt at the most, doubled for each further one


class _NoAnswer(Exception):
    """``down``: the engine itself has a fault. ``passes``: another attempt may go well."""

    def __init__(self, why: str, *, down: bool, passes: bool) -> None:
        super().__init__(why)
        self.down = down
        self.passes = passes


class HttpAnalyser:
    """Implements :class:`uploadsvc.verify.broker.Engine`. Shared by all greenlets of a process.

    Takes at most ``timeout_s`` for each of ``retries + 1`` attempts, and short pauses between.
    An engine that sends its answer's head a byte at a time may take longer; the deadline of
    the verification bounds that.
    """

    def __init__(
        self,
        config: HttpConfig,
        token: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config
        self._clock = clock
        self._pause = pause
        self._breaker = Breaker(config.failures, config.rest_s, clock)
        # identity: what is unpacked might be a thousand times what was sent.
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"uploadsvc/{__version__}",
        }
        if token:
            headers["Authorization"] = f"Bearer {token}"
        trusted: bool | ssl.SSLContext = True
        if config.ca_file:
            trusted = ssl.create_default_context(cafile=config.ca_file)
        # trust_env: a proxy of the environment would see the pictures.
        self._client = httpx.Client(
            headers=headers,
            timeout=config.timeout_s,
            verify=trusted,
            follow_redirects=False,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    @property
    def resting(self) -> bool:
        """Whether it failed so often in a row that it is left alone for a while."""
        return self._breaker.open

    def ask(self, picture: bytes, where: str) -> Answer:
        request = self._request(picture, where)
        why = "it failed too often, and rests"
        for attempt in range(self._config.retries + 1):
            if attempt:
                self._pause(random() * PAUSE_S * 2 ** (attempt - 1))  # noqa: S311
            if not self._breaker.allows():
                break
            try:
                answer = self._attempt(request)
            except _NoAnswer as error:
                why = str(error)
                self._count(error)
                if not error.passes:
                    break
            else:
                self._breaker.succeeded()
                return answer
        return Answer(failed=why)

    def _count(self, error: _NoAnswer) -> None:
        if error.down:
            self._breaker.failed()
        else:
            self._breaker.succeeded()
        logger.warning(
            "analyser gave no answer",
            analyser=self._config.name,
            why=str(error),
            resting=self.resting,
        )

    def _request(self, picture: bytes, where: str) -> dict[str, Any]:
        # The same for every attempt, so that nobody is billed twice for one picture.
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        if self._config.send == "jpeg":
            headers["Content-Type"] = "image/jpeg"
            return {"content": picture, "headers": headers}
        headers["Content-Type"] = "application/json"
        url = f"data:image/jpeg;base64,{b64encode(picture).decode()}"
        content = wire.compact({"url": url, "where": where})
        return {"content": content.encode(), "headers": headers}

    def _attempt(self, request: Mapping[str, Any]) -> Answer:
        ends = self._clock() + self._config.timeout_s
        try:
            with self._client.stream("POST", self._config.url, **request) as response:
                _check(response.status_code)
                body = self._body(response, ends)
        except httpx.TimeoutException as error:
            raise self._late() from error
        except httpx.HTTPError as error:
            why = f"no connection: {type(error).__name__}"
            raise _NoAnswer(why, down=True, passes=True) from error
        try:
            return _answer(body)
        except (ValueError, RecursionError) as error:
            why = f"its answer is not of our schema: {error}"
            raise _NoAnswer(why, down=True, passes=False) from error

    def _body(self, response: httpx.Response, ends: float) -> bytes:
        body = b""
        for piece in response.iter_raw():
            body += piece
            if len(body) > MAX_ANSWER_BYTES:
                why = f"its answer is above {MAX_ANSWER_BYTES} bytes"
                raise _NoAnswer(why, down=True, passes=False)
            if self._clock() > ends:
                raise self._late()
        return body

    def _late(self) -> _NoAnswer:
        why = f"no answer within {self._config.timeout_s:g} s"
        return _NoAnswer(why, down=True, passes=True)


def engines(
    configs: Iterable[HttpConfig], environ: Mapping[str, str]
) -> dict[str, HttpAnalyser]:
    """An engine for each configuration, by name, with its token out of ``environ``.

    Raises PolicyError for one that cannot work.
    """
    made = {}
    for config in configs:
        token = environ.get(config.token_env, "").strip() if config.token_env else ""
        if config.token_env and not (token and token.isascii() and token.isprintable()):
            raise PolicyError(
                f"{TABLE}.{config.name}.token_env: the environment has no token"
                f" {config.token_env}"
            )
        try:
            httpx.URL(config.url)
            made[config.name] = HttpAnalyser(config, token)
        except (httpx.InvalidURL, OSError) as error:
            raise PolicyError(f"{TABLE}.{config.name}: {error}") from error
    return made


def _check(status: int) -> None:
    """Raises _NoAnswer unless it is 200. Redirects are not followed: the picture and the
    token were meant for the address that was configured."""
    if status != 200:
        passes = status in PASSES or status >= 500
        raise _NoAnswer(f"it answered {status}", down=passes, passes=passes)


def _answer(body: bytes) -> Answer:
    said = json.loads(body)
    if not isinstance(said, dict) or not isinstance(said.get("labels"), list):
        raise ValueError("it has no list 'labels'")
    if len(said["labels"]) > MAX_LABELS:
        raise ValueError(f"more than {MAX_LABELS} labels")
    return Answer(
        tuple(_labelled(each) for each in said["labels"]),
        _name(said.get("model", ""), "model"),
    )


def _labelled(each: Any) -> Labelled:
    if not isinstance(each, dict):
        raise ValueError("a label is no object")
    label, score = _name(each.get("label"), "label"), _score(each.get("score"))
    if not label:
        raise ValueError("a label needs a name")
    return Labelled(label, score)


def _score(value: Any) -> float:
    # NaN, which Python's reader of JSON takes, is in no range.
    if type(value) not in {int, float} or not 0 <= value <= 1:
        raise ValueError("'score' needs a number from 0 to 1")
    return float(value)


def _name(value: Any, what: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME or not value.isprintable():
        raise ValueError(f"'{what}' needs a text of at most {MAX_NAME} characters")
    return value
