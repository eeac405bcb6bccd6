"""The verifier child: jobs on stdin, event lines on stdout, one JSON object a line.

Started by ``uploadsvc.work.supervisor`` with ``--child OPTIONS`` (JSON: ``policy``, a file
or empty; ``lists``, the folder of known-bad lists or empty; ``clamd``, a socket or empty;
``memory_bytes``; ``cpu_s`` a job; ``readable``, paths of received files, and ``writable``,
folders of scratch folders: see ``sandbox``). Says ``{"kind": "ready", "layers": {...}}`` when it
can work. In between its news it may ask its parent (see ``broker``); the answer is the next line
on stdin. Has no database, no hub, no storage and no network. A fault of ours ends it with a
traceback on stderr: to the parent its death is a crash, and the next job finds a fresh one.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import TextIO

from uploadsvc import wire
from uploadsvc.verify import Subject, sandbox
from uploadsvc.verify.broker import Asking


def main(options: dict[str, object]) -> None:
    layers = sandbox.isolate(os.getppid())
    news = _own_channel()
    lists, clamd = _paths(options.get("lists")), _paths(options.get("clamd"))
    layers |= sandbox.confine(
        [*_paths(options.get("readable")), *_paths(options.get("policy")), *lists],
        _paths(options.get("writable")),
    )
    # Imported here: the libraries below start threads, and what was given up above is given
    # up only by the thread that did it and those it starts from then on.
    from uploadsvc.verify.analysers.plugins import PluginError
    from uploadsvc.verify.policy import PolicyError
    from uploadsvc.verify.toolbox import Toolbox

    ask = Asking(lambda line: _say(news, line), sys.stdin)
    try:
        toolbox = Toolbox.load(
            str(options.get("policy") or ""),
            lists=lists[0] if lists else None,
            clamd=clamd[0] if clamd else None,
            ask=ask,
        )
    except (PolicyError, PluginError) as error:
        sys.exit(str(error))
    cpu_s = float(str(options["cpu_s"]))
    layers |= sandbox.limit(int(str(options["memory_bytes"])), cpu_s)
    layers |= sandbox.forbid(unix_sockets=bool(clamd))
    gc.freeze()  # what is loaded stays: collecting need not look at it
    _say(news, wire.compact({"kind": "ready", "layers": layers}))
    for line in sys.stdin:
        # Decoders hang in reference cycles with hundreds of megabytes of address space; left
        # to chance, the memory limit would be met by a sound file some jobs later.
        gc.collect()
        sandbox.allow_cpu(cpu_s)
        subject = _subject(line)
        ask.begin(subject.scratch)
        for item in toolbox.verify(subject):
            _say(news, wire.to_line(item))


def _paths(given: object) -> list[Path]:
    """Of a list of paths, of one path, or of nothing."""
    listed = given if isinstance(given, list) else [given] if given else []
    return [Path(str(each)) for each in listed]


def _own_channel() -> TextIO:
    """stdout for us alone: a library that prints to it would break the protocol, so fd 1
    leads to stderr from here on."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _say(news: TextIO, line: str) -> None:
    news.write(line + "\n")
    news.flush()


def _subject(line: str) -> Subject:
    job = json.loads(line)
    return Subject(
        Path(job["path"]),
        Path(job["scratch"]),
        job["title"],
        job["description"],
        job["file_name"],
    )


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "--child":
        sys.exit("started by the service; for a file use: uploadsvc verify FILE")
    main(json.loads(sys.argv[2]))
