"""Which paths the child may touch: a landlock ruleset, for this thread and those it makes.

Only what is opened from here on is asked about; files already open stay usable. Landlock knows
no exception below a folder that is allowed, so what is readable is named narrowly: never the
current folder, a prefix or all of /usr, where a service may well keep its data.
"""

from __future__ import annotations

import importlib.util
import os
import site
import stat
import struct
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path

from uploadsvc.verify.sandbox import kernel

# The same number on every architecture, as for all calls since 2019.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ASK_VERSION = 1
RULE_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (
    1 << bit for bit in range(6)
)
MAKE_DIR, MAKE_REG, REFER, TRUNCATE, IOCTL_DEV = (
    1 << bit for bit in (7, 8, 13, 14, 15)
)
READ = READ_FILE | READ_DIR
# No links, pipes, sockets or devices: the parent and a web server open what lies there.
WRITE = READ | WRITE_FILE | TRUNCATE | MAKE_DIR | MAKE_REG | REMOVE_DIR | REMOVE_FILE
WRITE |= REFER  # a rename from folder to folder, both of them below
OF_A_FILE = READ_FILE | WRITE_FILE | TRUNCATE  # the others are a folder's

# From which version of landlock on the kernel can be asked to watch over what.
FILE_RIGHTS = {1: (1 << 13) - 1, 2: REFER, 3: TRUNCATE, 5: IOCTL_DEV}
TCP_BIND_AND_CONNECT = {4: 0b11}
FOREIGN_SOCKETS_AND_SIGNALS = {6: 0b11}

SYSTEM = (
    *("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64"),
    *("/usr/local/lib", "/usr/local/lib64", "/usr/share", "/usr/local/share"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/fonts", "/var/cache/fontconfig"),
    *("/dev/urandom", "/dev/random", "/dev/zero", "/dev/null"),
    # onnxruntime counts cores and looks for others' hardware while it is loaded.
    *("/proc/cpuinfo", "/sys/devices/system/cpu", "/sys/bus/pci/devices"),
)
PLUGINS = "uploadsvc.analysers"  # entry points, whose packages may lie anywhere


def confine(readable: Iterable[Path], writable: Iterable[Path]) -> bool:
    """Whether nothing else can be opened now."""
    version = kernel.call(CREATE_RULESET, None, 0, ASK_VERSION)
    if version < 1:
        return False
    ruleset = _ruleset(version)
    if ruleset < 0:
        return False
    _pin_proc_self()
    watched = _known(FILE_RIGHTS, version)
    rights = [
        *((path, READ) for path in (*readable, Path("/proc/self"))),
        *((path, WRITE) for path in (*writable, Path("/dev/null"))),
    ]
    try:
        done = [_allow(ruleset, path, each & watched) for path, each in rights]
        return all(done) and kernel.call(RESTRICT_SELF, ruleset, 0) == 0
    finally:
        os.close(ruleset)


def needed() -> Iterator[Path]:
    """What Python and the libraries read, now or when something rare is first needed."""
    yield from map(Path, SYSTEM)
    for scheme in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(scheme))
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}:
        yield Path(prefix, "lib")
        yield Path(prefix, "lib64")
        yield Path(prefix, "pyvenv.cfg")
    if site.ENABLE_USER_SITE:
        yield Path(site.getusersitepackages())
    yield from _folders("uploadsvc")
    for plugin in entry_points(group=PLUGINS):
        yield from _folders(plugin.module.partition(".")[0])


def _folders(package: str) -> Iterator[Path]:
    """Where a package lies, wherever it was installed from; found without importing it."""
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations is not None:
            yield from map(Path, spec.submodule_search_locations)
        elif spec is not None and spec.origin is not None:
            yield Path(spec.origin)


def _ruleset(version: int) -> int:
    """A new ruleset's descriptor that watches over all the kernel knows of; -1 if refused."""
    tables = (FILE_RIGHTS, TCP_BIND_AND_CONNECT, FOREIGN_SOCKETS_AND_SIGNALS)
    # A kernel takes a longer structure as well, if what it does not know of is zero.
    attributes = struct.pack("=QQQ", *(_known(each, version) for each in tables))
    return kernel.call(CREATE_RULESET, attributes, len(attributes), 0)


def _known(table: dict[int, int], version: int) -> int:
    return sum(rights for since, rights in table.items() if since <= version)


def _allow(ruleset: int, path: Path, rights: int) -> bool:
    """Allow ``rights`` at and below ``path``; true as well where there is no such path."""
    with _opened(path) as place:
        if place is None:
            return True
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= OF_A_FILE
        rule = struct.pack("=Qi", rights, place)
        return kernel.call(ADD_RULE, ruleset, RULE_PATH_BENEATH, rule, 0) == 0


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield place
    finally:
        os.close(place)


def _pin_proc_self() -> None:
    """Leave the folder open for ever. A rule belongs to an inode, and procfs makes a new one
    when memory was short and nobody held the old: without this, /proc/self would be out of
    reach some day."""
    with suppress(OSError):
        os.open("/proc/self", os.O_PATH | os.O_CLOEXEC)
