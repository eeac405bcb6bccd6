"""The ``Prefer`` header of a POST (RFC 7240): how long the client will wait."""

from __future__ import annotations

from dataclasses import dataclass

from werkzeug.http import parse_dict_header

LONGEST_WAIT_S = (
    3600.0  # as long as the shipped nginx lets an upload wait for its answer
)


@dataclass(frozen=True, slots=True)
class Preference:
    """``wait_s`` is how long to wait for the end of verification; ``applied`` is what
    ``Preference-Applied`` says if the wait is what the client asked for, else empty."""

    wait_s: float = LONGEST_WAIT_S
    applied: str = ""


def preference(header: str | None) -> Preference:
    """``respond-async`` answers at once, ``wait=20`` within 20 s; together, ``wait`` wins,
    for it says the same more exactly (RFC 7240, 4.3). What cannot be read is ignored."""
    if not header:
        return Preference()
    asked = {name.lower(): value for name, value in parse_dict_header(header).items()}
    wait = (asked.get("wait") or "").strip()
    if wait.isascii() and wait.isdigit() and len(wait) < 9:
        seconds = int(wait)
        return Preference(min(float(seconds), LONGEST_WAIT_S), f"wait={seconds}")
    if "respond-async" in asked:
        return Preference(0.0, "respond-async")
    return Preference()
