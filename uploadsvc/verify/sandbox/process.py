"""What the child is towards other processes: poor, patient, cut off and mortal."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from uploadsvc.verify.sandbox import kernel

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWNET = 0x4000_0000

NICE = 10
WORST_OOM_SCORE = 1000
# Root in a container reads folders of another owner by these two, and would not find its own
# code without them. What they reach is bounded by landlock.
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1 << 1, 1 << 2


def keep_others_from_writing() -> None:
    """Not from reading: a web server of another user serves what the child has made."""
    os.umask(os.umask(0o077) | 0o022)


def close_descriptors() -> bool:
    """Everything but stdin, stdout and stderr, whatever the parent forgot to close."""
    try:
        found = [int(each.name) for each in Path("/proc/self/fd").iterdir()]
    except OSError:
        return False
    for descriptor in found:
        if descriptor > 2:
            # One of them was the listing's own and is closed by now.
            with suppress(OSError):
                os.close(descriptor)
    return True


def yield_to_others() -> bool:
    try:
        nice = max(NICE, os.getpriority(os.PRIO_PROCESS, 0))
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except OSError:
        return False
    return True


def offer_to_oom_killer() -> bool:
    try:
        Path("/proc/self/oom_score_adj").write_text(str(WORST_OOM_SCORE))
    except OSError:
        return False
    return True


def renounce_privileges() -> bool:
    return kernel.prctl(PR_SET_NO_NEW_PRIVS, 1)


def leave_network() -> bool:
    """A network namespace of its own has not even a loopback that is up. Root may make one
    at once, others inside a user namespace of their own, where that is allowed."""
    return kernel.unshare(CLONE_NEWNET) or kernel.unshare(CLONE_NEWNET | CLONE_NEWUSER)


def die_with(parent: int) -> bool:
    # The parent may have died before we asked; then we have another one by now.
    asked = kernel.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return asked and os.getppid() == parent


def drop_capabilities() -> bool:
    _, permitted, _ = kernel.capabilities()
    return kernel.keep_capabilities(
        permitted & (CAP_DAC_OVERRIDE | CAP_DAC_READ_SEARCH)
    )
