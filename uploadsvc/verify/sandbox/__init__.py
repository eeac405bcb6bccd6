"""What the child gives up before it opens a stranger's file.

Every layer is best effort, for an old kernel or a container refuses some; which of them hold
is told to the parent, which logs it and shows it in ``readyz``:

=======================  ===============================================================
``descriptors_closed``   nothing open but stdin, stdout and stderr
``low_priority``         nice 10, so that the service answers first
``first_to_go``          out of memory, the kernel kills a verifier before the service
``no_new_privileges``    no set-user-id file helps
``no_network``           a network namespace with nothing in it
``dies_with_parent``     killed by the kernel when its parent is gone
``files``                landlock: reads libraries and what it is told, writes scratch
``capabilities_dropped`` root's powers are gone
``memory`` ``file_size`` ``open_files`` ``no_core`` ``cpu``    limits of the process
``system_calls``         seccomp: no process, program, network, mount, debugger, chmod…
=======================  ===============================================================

The order is the machine. ``isolate`` and ``confine`` come first, while the process has one
thread: a namespace, landlock and capabilities are a thread's own, and only threads made later
inherit them (onnxruntime makes one when it is imported). ``limit`` and ``forbid`` come when
everything is loaded: the memory limit counts from there, and libraries ask for things while
they load which they never need again.

Linux only. ``process``, ``files``, ``limits`` and ``seccomp`` hold one kind of layer each,
``calls`` the table of the last, ``kernel`` how the kernel is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from uploadsvc.verify.sandbox import files, limits, process, seccomp


def isolate(parent: int) -> dict[str, bool]:
    """Inherit nothing, come after everybody else, have no network, die with ``parent`` (a
    process id). To be called first, and before anything is opened. Returns which layers hold.
    """
    process.keep_others_from_writing()
    return {
        "descriptors_closed": process.close_descriptors(),
        "low_priority": process.yield_to_others(),
        "first_to_go": process.offer_to_oom_killer(),
        "no_new_privileges": process.renounce_privileges(),
        "no_network": process.leave_network(),
        # After the namespace: what changes a process's powers may reset this one.
        "dies_with_parent": process.die_with(parent),
    }


def confine(readable: Iterable[Path], writable: Iterable[Path]) -> dict[str, bool]:
    """Read ``readable`` and what Python and the libraries need, write below the folders
    ``writable``, and touch no other path; keep none of root's powers.

    A path that is missing now stays out of reach. So does a file that takes the place of a
    ``readable`` file: what is replaced while the child lives needs its folder named. With
    nothing ``writable`` nobody told us our place, and the paths are left as they are.
    """
    folders = tuple(writable)
    held = bool(folders) and files.confine((*files.needed(), *readable), folders)
    return {"files": held, "capabilities_dropped": process.drop_capabilities()}


def limit(memory_bytes: int, cpu_s: float) -> dict[str, bool]:
    """Bound address space (``memory_bytes`` beyond what is used now), CPU time (until the
    next ``allow_cpu``), file size and open files; no core dumps. Returns which layers hold.
    """
    return limits.apply(memory_bytes) | {"cpu": limits.allow_cpu(cpu_s)}


def allow_cpu(seconds: float) -> bool:
    """The next job may use this much CPU time; the kernel kills the process beyond it."""
    return limits.allow_cpu(seconds)


def forbid(*, unix_sockets: bool) -> dict[str, bool]:
    """Close the system calls no decoder needs, for every thread there is and will be.

    ``unix_sockets`` leaves those of this machine open, for an engine that is spoken to
    through one. Returns which layers hold.
    """
    return {"system_calls": seccomp.restrict(unix_sockets=unix_sockets)}
