"""Each layer of the sandbox, by trying what it forbids in a real process that has it.

A test of a layer the kernel refuses is skipped and says so; that the layers hold wherever the
kernel offers them is a test of its own, so that none of them can go missing in silence.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests import media, media_av
from uploadsvc.model import Job, Verified
from uploadsvc.verify.sandbox import calls, files, seccomp
from uploadsvc.work import supervisor
from uploadsvc.work.supervisor import ChildVerifier

MEMORY_BYTES = 512 * 2**20
ROOT = Path(__file__).parents[2]
ALL = ("isolate", "confine", "limit", "forbid")

# Takes the layers it is told, tries the code, tells how it went.
PROGRAM = """
import ctypes, json, os, resource, signal, socket, subprocess, sys, threading, time
from pathlib import Path
from uploadsvc.verify import sandbox

told = json.loads(sys.argv[1])
layers, said, refused = {}, None, None
if "isolate" in told["layers"]:
    layers |= sandbox.isolate(os.getppid())
if "confine" in told["layers"]:
    layers |= sandbox.confine([Path(told["incoming"])], [Path(told["scratch"])])
if "limit" in told["layers"]:
    layers |= sandbox.limit(told["memory_bytes"], told["cpu_s"])
if "forbid" in told["layers"]:
    layers |= sandbox.forbid(unix_sockets=told["unix_sockets"])
print(json.dumps(layers), flush=True)

def system_call(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *arguments) == -1:
        raise OSError(ctypes.get_errno(), "refused")

incoming, scratch = Path(told["incoming"]), Path(told["scratch"])
try:
    exec(told["code"])
except OSError as error:
    refused = error.errno
except MemoryError:
    refused = "memory"
print(json.dumps({"said": said, "refused": refused and os.strerror(refused)
                  if refused != "memory" else refused}), flush=True)
"""

EACH = """
said = {{}}
for what, code in {codes!r}.items():
    said[what] = None
    try:
        exec(code)
    except OSError as error:
        said[what] = os.strerror(error.errno)
"""

DENIED = os.strerror(1)  # EPERM: a system call
OUT_OF_REACH = os.strerror(13)  # EACCES: a path


@dataclass(frozen=True, slots=True)
class Tried:
    """How an attempt went: which layers held, what it found, what the kernel answered."""

    layers: dict[str, bool]
    said: Any
    refused: str | None
    killed_by: int = 0

    def needs(self, *names: str) -> Tried:
        for name in names:
            if not self.layers[name]:
                pytest.skip(f"this kernel refuses the layer {name}")
        return self


@dataclass(frozen=True, slots=True)
class Box:
    """A data folder as the service has it, and processes that try things beside it."""

    folder: Path

    @property
    def incoming(self) -> Path:
        return self.folder / "incoming"

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    def attempt(
        self,
        code: str,
        *layers: str,
        unix_sockets: bool = False,
        memory_bytes: int = MEMORY_BYTES,
        cpu_s: float = 60,
        inherited: tuple[int, ...] = (),
    ) -> Tried:
        told = {
            "code": code,
            "layers": layers,
            "incoming": str(self.incoming),
            "scratch": str(self.scratch),
            "unix_sockets": unix_sockets,
            "memory_bytes": memory_bytes,
            "cpu_s": cpu_s,
        }
        process = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(told)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            pass_fds=inherited,
            timeout=60,
            check=False,
        )
        lines = [json.loads(line) for line in process.stdout.splitlines()]
        if process.returncode < 0:
            return Tried(lines[0], None, None, -process.returncode)
        assert process.returncode == 0, process.stderr
        return Tried(lines[0], **lines[1])

    def attempt_each(self, codes: dict[str, str], *layers: str, **more: Any) -> Tried:
        """All in one process; what is said is the kernel's answer to each."""
        return self.attempt(EACH.format(codes=codes), *layers, **more)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = Box(tmp_path)
    made.incoming.mkdir()
    made.scratch.mkdir()
    (made.incoming / "upload").write_text("a stranger's bytes")
    (tmp_path / "secret").write_text("a secret nobody may read")
    (tmp_path / "uploadsvc.sqlite3").write_text("rows")
    return made


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


# --- what holds ---------------------------------------------------------------------------


def test_every_layer_the_kernel_offers_holds(box: Box) -> None:
    libc = ctypes.CDLL(None)
    landlock = libc.syscall(files.CREATE_RULESET, None, 0, files.ASK_VERSION) > 0
    seccomp = Path("/proc/sys/kernel/seccomp/actions_avail").exists()

    tried = box.attempt("", *ALL)

    refused = {name for name, held in tried.layers.items() if not held}
    assert tried.layers["files"] == landlock
    assert tried.layers["system_calls"] == seccomp
    # Only these may be refused by a container; the others need no permission.
    assert refused <= {"files", "system_calls", "no_network", "low_priority"}


def test_without_a_scratch_folder_the_missing_layer_is_told() -> None:
    child = ChildVerifier(
        {"policy": "", "memory_bytes": MEMORY_BYTES, "cpu_s": 60}, deadline_s=60
    )

    child.warm()
    child.kill()

    assert child.layers["files"] is False


# --- network ------------------------------------------------------------------------------

CONNECT = "socket.create_connection(('127.0.0.1', {port})).close()"


def test_the_network_is_there_without_a_sandbox(box: Box, port: int) -> None:
    tried = box.attempt(CONNECT.format(port=port))

    assert tried.refused is None


def test_a_namespace_of_its_own_has_no_listening_port(box: Box, port: int) -> None:
    tried = box.attempt(CONNECT.format(port=port), "isolate").needs("no_network")

    assert tried.refused == os.strerror(101)  # ENETUNREACH


def test_no_socket_of_a_network_can_be_made(box: Box) -> None:
    families = ("AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG")
    codes = {
        each: f"socket.socket(socket.{each}, socket.SOCK_RAW)" for each in families
    }

    tried = box.attempt_each(codes, "forbid", unix_sockets=True)

    assert tried.needs("system_calls").said == dict.fromkeys(codes, DENIED)


def test_landlock_alone_refuses_tcp(box: Box, port: int) -> None:
    libc = ctypes.CDLL(None)
    if libc.syscall(files.CREATE_RULESET, None, 0, files.ASK_VERSION) < 4:
        pytest.skip("this kernel's landlock knows no network")

    tried = box.attempt(CONNECT.format(port=port), "confine")

    assert tried.refused == OUT_OF_REACH


@pytest.mark.parametrize(("allowed", "answer"), [(True, None), (False, DENIED)])
def test_a_socket_of_this_machine_is_reached_only_if_an_engine_needs_it(
    box: Box, allowed: bool, answer: str | None
) -> None:
    path = box.folder / "clamd.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        code = f"socket.socket(socket.AF_UNIX).connect({str(path)!r})"

        tried = box.attempt(code, *ALL, unix_sockets=allowed).needs("system_calls")

    assert tried.refused == answer


# --- files --------------------------------------------------------------------------------

BEYOND = {
    "the secret": "(incoming.parent / 'secret').read_text()",
    "the database": "(incoming.parent / 'uploadsvc.sqlite3').read_text()",
    "the data folder's names": "os.listdir(incoming.parent)",
    "a new file beside": "(incoming.parent / 'new').write_text('x')",
    "a received file, to write": "(incoming / 'upload').open('r+')",
    "a received file, to cut": "os.truncate(incoming / 'upload', 0)",
    "a received file, to remove": "(incoming / 'upload').unlink()",
    "passwords": "Path('/etc/passwd').read_text()",
    "the package's surroundings": f"Path({str(ROOT / 'setup.cfg')!r}).read_text()",
    "the package, to write": f"Path({str(ROOT / 'uploadsvc/__init__.py')!r}).open('r+')",
    "the parent's environment": "Path(f'/proc/{os.getppid()}/environ').read_bytes()",
    "temporary files": "os.close(os.open('/tmp', os.O_TMPFILE | os.O_RDWR))",
    "a named pipe": "os.mkfifo(scratch / 'pipe')",
    "a symlink": "(scratch / 'link').symlink_to(incoming.parent / 'secret')",
}


def test_all_but_scratch_and_libraries_is_out_of_reach(box: Box) -> None:
    bare = box.attempt_each(BEYOND)
    (box.incoming / "upload").write_text("a stranger's bytes")
    (box.scratch / "pipe").unlink()
    (box.scratch / "link").unlink()

    tried = box.attempt_each(BEYOND, "isolate", "confine").needs("files")

    assert bare.said == dict.fromkeys(BEYOND)
    assert tried.said == dict.fromkeys(BEYOND, OUT_OF_REACH)


def test_a_thread_made_later_reaches_no_more(box: Box) -> None:
    code = """
def read():
    global said
    try:
        said = (incoming.parent / "secret").read_text()
    except OSError as error:
        said = os.strerror(error.errno)
thread = threading.Thread(target=read)
thread.start()
thread.join()
"""

    tried = box.attempt(code, *ALL).needs("files")

    assert tried.said == OUT_OF_REACH


def test_scratch_is_for_writing_reading_renaming_and_removing(box: Box) -> None:
    code = """
(scratch / "job").mkdir()
(scratch / "job/one").write_bytes((incoming / "upload").read_bytes())
(scratch / "job/one").rename(scratch / "job/two")
os.truncate(scratch / "job/two", 10)
said = (scratch / "job/two").read_text()
(scratch / "job/two").unlink()
(scratch / "job").rmdir()
"""

    tried = box.attempt(code, *ALL)

    assert tried.refused is None
    assert tried.said == "a stranger"


def test_what_python_needs_late_is_within_reach(box: Box) -> None:
    code = """
import locale, unicodedata, wave, xml.dom.minidom, zoneinfo
from uploadsvc.verify.formats import audio
locale.setlocale(locale.LC_ALL, "C.UTF-8")
Path("/dev/urandom").open("rb").read(8)
Path("/proc/self/statm").read_text()
Path("/dev/null").write_text("x")
time.localtime()
said = os.environ.get("TZ", "")
"""

    tried = box.attempt(code, *ALL)

    assert tried.refused is None


def test_what_is_read_is_named_narrowly() -> None:
    wide = {Path(each) for each in ("/", "/usr", "/etc", "/proc", "/home", "/tmp")}

    named = set(files.needed())

    assert not named & (wide | {Path.home(), Path.cwd(), ROOT, Path(sys.prefix)})


# --- system calls -------------------------------------------------------------------------

OTHERS = {
    "a process": "os._exit(0) if os.fork() == 0 else os.wait()",
    "a program": "subprocess.run(['true'])",
    "a mode": "(scratch / 'file').touch(); os.chmod(scratch / 'file', 0o4755)",
    "a hard link": "os.link(scratch / 'file', scratch / 'hard')",
    "a symlink": "os.symlink('/etc/passwd', scratch / 'link')",
    "a named pipe": "os.mkfifo(scratch / 'pipe')",
    "a limit of the parent": "resource.prlimit(os.getppid(), resource.RLIMIT_CORE)",
    "a signal to the parent": "os.kill(os.getppid(), 0)",
    "memory without an address": "os.memfd_create('bytes')",
}


def test_what_no_decoder_needs_is_refused(box: Box) -> None:
    bare = box.attempt_each(OTHERS)
    for name in ("hard", "link", "pipe"):
        (box.scratch / name).unlink()

    tried = box.attempt_each(OTHERS, "forbid").needs("system_calls")

    assert bare.said == dict.fromkeys(OTHERS)
    assert tried.said == dict.fromkeys(OTHERS, DENIED)


def test_the_whole_table_is_refused(box: Box) -> None:
    column = calls.ARCHITECTURES[os.uname().machine].column
    numbers = {
        name: row[column]
        for table in calls.REFUSED.values()
        for name, row in table.items()
        if row[column] is not None
    }
    code = f"""
said = []
assert layers["system_calls"]
for name, number in {numbers!r}.items():
    try:
        system_call(number, -1, -1, -1, -1, -1, -1)
    except PermissionError:
        continue
    except OSError as error:
        pass
    said.append(name)
"""

    tried = box.attempt(code, "forbid")

    assert tried.needs("system_calls").said == []


def test_threads_stay_possible(box: Box) -> None:
    code = """
said = []
threads = [threading.Thread(target=said.append, args=(number,)) for number in range(3)]
for each in threads:
    each.start()
for each in threads:
    each.join()
"""

    tried = box.attempt(code, *ALL)

    assert sorted(tried.said) == [0, 1, 2]


def test_threads_made_before_the_filter_have_it_too(box: Box) -> None:
    code = """
go, done = threading.Event(), threading.Event()
def late():
    global said
    go.wait()
    try:
        os.fork()
    except OSError as error:
        said = os.strerror(error.errno)
    done.set()
threading.Thread(target=late).start()
layers |= sandbox.forbid(unix_sockets=False)
go.set()
done.wait()
"""

    tried = box.attempt(code)

    assert tried.said == DENIED


def test_a_failed_assertion_of_a_library_still_ends_the_process(box: Box) -> None:
    tried = box.attempt("os.abort()", *ALL)

    assert tried.killed_by == signal.SIGABRT


def test_calls_by_another_way_than_this_machines_do_not_exist(box: Box) -> None:
    x32_getpid = 0x4000_0000 + 39

    tried = box.attempt(f"system_call({x32_getpid})", "forbid").needs("system_calls")

    assert tried.refused == os.strerror(38)  # ENOSYS


def outcome(
    program: list[seccomp.Instruction], audit: int, number: int, *arguments: int
) -> seccomp.Instruction:
    """What the kernel would answer: a classic packet filter, walked through."""
    words = {seccomp.NUMBER: number, seccomp.ARCHITECTURE: audit}
    words |= {seccomp.ARGUMENTS + 8 * i: each for i, each in enumerate(arguments)}
    loaded, at = 0, 0
    while True:
        code, if_true, if_false, operand = program[at]
        at += 1
        if code == seccomp.RETURN:
            return program[at - 1]
        if code == seccomp.LOAD:
            loaded = words.get(operand, 0)
            continue
        true = {
            seccomp.EQUAL: loaded == operand,
            seccomp.AT_LEAST: loaded >= operand,
            seccomp.ANY_BIT: bool(loaded & operand),
        }[code]
        at += if_true if true else if_false


# Number of: read, clone, socket, kill, openat.
NUMBERS = {"x86_64": (0, 56, 41, 62, 257), "aarch64": (63, 220, 198, 129, 56)}
PID = 4711
THREAD = 0x003D_0F00  # the flags of pthread_create
SIGCHLD = 17


@pytest.mark.parametrize("machine", NUMBERS)
def test_the_filter_is_the_same_on_every_architecture(machine: str) -> None:
    architecture = calls.ARCHITECTURES[machine]
    read, clone, socket_, kill, openat = NUMBERS[machine]
    foreign = next(a for n, a in calls.ARCHITECTURES.items() if n != machine)
    program = list(seccomp.program(architecture, PID, unix_sockets=True))

    def answer(number: int, *arguments: int) -> seccomp.Instruction:
        return outcome(program, architecture.audit, number, *arguments)

    assert answer(read) == answer(openat) == seccomp.ALLOW
    assert answer(clone, THREAD) == seccomp.ALLOW
    assert answer(clone, SIGCHLD) == seccomp.REFUSE
    assert answer(clone, THREAD | 0x4000_0000) == seccomp.REFUSE  # a new network
    assert answer(435) == seccomp.UNKNOWN  # clone3
    assert answer(socket_, socket.AF_UNIX) == seccomp.ALLOW
    assert answer(socket_, socket.AF_INET) == seccomp.REFUSE
    assert answer(kill, PID) == seccomp.ALLOW
    assert answer(kill, 1) == seccomp.REFUSE
    assert answer(425) == seccomp.REFUSE  # io_uring_setup
    assert answer(calls.NEWEST + 1) == seccomp.UNKNOWN
    assert outcome(program, foreign.audit, read) == seccomp.KILL


# --- limits -------------------------------------------------------------------------------


def test_a_big_allocation_fails_and_a_small_one_does_not(box: Box) -> None:
    small = box.attempt("said = len(bytearray(16 * 2**20))", *ALL)
    big = box.attempt(f"bytearray({MEMORY_BYTES} + 2**20)", *ALL)

    assert small.said == 16 * 2**20
    assert big.refused == "memory"


def test_endless_work_is_killed(box: Box) -> None:
    tried = box.attempt("while True: pass", *ALL, cpu_s=0)

    assert tried.killed_by == signal.SIGXCPU


def test_a_file_beyond_the_limit_is_refused(box: Box) -> None:
    code = """
from uploadsvc.verify.sandbox.limits import LARGEST_FILE
with (scratch / "file").open("wb") as file:
    file.truncate(LARGEST_FILE)
    file.truncate(LARGEST_FILE + 1)
"""

    tried = box.attempt(code, *ALL)

    assert tried.refused == os.strerror(27)  # EFBIG


def test_files_beyond_the_limit_do_not_open(box: Box) -> None:
    code = "said = [Path('/dev/null').open() for _ in range(100)]"

    tried = box.attempt(code, *ALL)

    assert tried.refused == os.strerror(24)  # EMFILE


def test_no_limit_is_raised_again(box: Box) -> None:
    code = """
said = []
for kind in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
    held = resource.getrlimit(kind)[1]
    try:
        resource.setrlimit(kind, (held + 1, held + 1))
    except ValueError:
        said.append("not allowed")
"""

    tried = box.attempt(code, *ALL)

    assert tried.said == ["not allowed"] * 3


# --- the process --------------------------------------------------------------------------


def test_an_inherited_descriptor_is_closed(box: Box) -> None:
    with (box.folder / "secret").open("rb") as secret:
        code = f"said = os.read({secret.fileno()}, 100).decode()"

        bare = box.attempt(code, inherited=(secret.fileno(),))
        tried = box.attempt(code, "isolate", inherited=(secret.fileno(),))

    assert bare.said == "a secret nobody may read"
    assert tried.refused == os.strerror(9)  # EBADF


def test_the_service_comes_before_its_verifiers(box: Box) -> None:
    code = """
score = int(Path("/proc/self/oom_score_adj").read_text())
said = [os.getpriority(os.PRIO_PROCESS, 0), score]
"""

    tried = box.attempt(code, *ALL).needs("low_priority")

    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert tried.said == [max(10, own), 1000]


def test_nobody_else_may_write_what_the_child_makes(box: Box) -> None:
    code = "os.umask(0); layers |= sandbox.isolate(os.getppid()); said = os.umask(0)"

    tried = box.attempt(code)

    assert tried.said & 0o022 == 0o022


def test_roots_powers_are_gone(box: Box) -> None:
    code = """
status = dict(line.split(":\\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\\t" in line)
said = [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")]
"""

    tried = box.attempt(code, *ALL)

    reading_only = (
        0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, where root had them
    )
    assert all(each & ~reading_only == 0 for each in tried.said)


def test_the_child_dies_with_its_parent(box: Box) -> None:
    told = {"layers": ALL, "incoming": str(box.incoming), "scratch": str(box.scratch)}
    told |= {"unix_sockets": False, "memory_bytes": MEMORY_BYTES, "cpu_s": 60}
    told |= {"code": "print(os.getpid(), flush=True); time.sleep(60)"}
    between = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    command = [sys.executable, "-c", PROGRAM, json.dumps(told)]
    with subprocess.Popen(
        [sys.executable, "-c", between, *command], cwd=ROOT, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        child = os.pidfd_open(int(parent.stdout.readline()))

        parent.kill()

        gone, _, _ = select.select([child], [], [], 10)
    os.close(child)
    assert gone


# --- the verifier itself ------------------------------------------------------------------


@pytest.fixture
def verifier(box: Box) -> Iterator[ChildVerifier]:
    options = {
        "policy": "",
        "memory_bytes": MEMORY_BYTES,
        "cpu_s": 300,
        "readable": [str(box.incoming)],
        "writable": [str(box.scratch)],
    }
    child = ChildVerifier(options, deadline_s=300)
    yield child
    child.kill()


PICTURES = {
    "jpeg": media.jpeg,
    "png": media.png,
    "webp": media.webp,
    "avif": media.avif,
    "heic": media.heic,
    "gif": media.gif,
    "tiff": media.tiff,
    "pdf": media.pdf,
}
FILMS = {
    "mp4": media_av.mp4,
    "mov": media_av.mov,
    "webm": media_av.webm,
    "mkv": media_av.mkv,
    "mp3": media_av.mp3,
    "m4a": media_av.m4a,
    "wav": media_av.wav,
    "flac": media_av.flac,
    "ogg": media_av.ogg,
}


def test_every_format_is_verified_with_all_layers_on(
    verifier: ChildVerifier, box: Box
) -> None:
    for name, make in PICTURES.items():
        (box.incoming / name).write_bytes(make())
    for name, film in FILMS.items():
        film(box.incoming / name)
    outcomes = {}

    for name in (*PICTURES, *FILMS):
        scratch = box.scratch / name
        scratch.mkdir()
        job = Job("upload_of_a_test", "A title", "", name, 0)
        outcomes[name] = list(verifier.verify(job, box.incoming / name, scratch))[-1]

    assert {name: type(each) for name, each in outcomes.items()} == dict.fromkeys(
        outcomes, Verified
    )


def test_the_verifier_holds_the_layers_an_attempt_holds(
    verifier: ChildVerifier, box: Box
) -> None:
    tried = box.attempt("", *ALL)

    verifier.warm()

    assert verifier.layers == tried.layers


def test_the_verifiers_environment_is_only_what_is_passed_on(
    verifier: ChildVerifier,
) -> None:
    verifier.warm()

    content = Path(f"/proc/{verifier.pid}/environ").read_bytes().decode()
    names = {line.partition("=")[0] for line in content.split("\0") if line}
    assert names <= {*supervisor.PASSED_ON, *supervisor.GIVEN}


def test_the_layers_are_logged_once_and_not_with_every_fresh_child(
    verifier: ChildVerifier,
) -> None:
    with capture_logs() as logs:
        verifier.warm()
        verifier.kill()
        verifier.warm()

    told = [each for each in logs if each["event"].startswith("sandbox")]
    held = {name for name, on in verifier.layers.items() if on}
    assert set(told[0]["layers"]) == held
    assert len(told) == (1 if len(held) == len(verifier.layers) else 2)
