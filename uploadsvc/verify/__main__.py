"""The verifier child: jobs on stdin, event lines on stdout, one JSON object a line.

Started by ``uploadsvc.work.supervisor`` with ``--child OPTIONS`` (JSON: ``policy``, a file
or empty; ``memory_bytes``; ``cpu_s`` a job). Says ``{"kind": "ready", "layers": {...}}`` when
it can work. Has no database, no hub, no storage and no network. A fault of ours ends it with
a traceback on stderr: to the parent its death is a crash, and the next job finds a fresh one.
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


def main(options: dict[str, object]) -> None:
    news = _own_channel()
    layers = sandbox.isolate(os.getppid())
    # Imported here: the libraries below start threads, and a process with threads cannot
    # leave its network.
    from uploadsvc.verify.toolbox import Toolbox

    toolbox = Toolbox.load(str(options.get("policy") or ""))
    layers |= sandbox.limit(int(str(options["memory_bytes"])))
    cpu_s = float(str(options["cpu_s"]))
    gc.freeze()  # what is loaded stays: collecting need not look at it
    _say(news, wire.compact({"kind": "ready", "layers": layers}))
    for line in sys.stdin:
        # Decoders hang in reference cycles with hundreds of megabytes of address space; left
        # to chance, the memory limit would be met by a sound file some jobs later.
        gc.collect()
        sandbox.allow_cpu(cpu_s)
        for item in toolbox.verify(_subject(line)):
            _say(news, wire.to_line(item))


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
