"""Which system calls no decoder needs, by number: the table ``seccomp`` makes a filter of.

What is refused, not what is allowed: libraries change what they use with every release, and a
decoder that is killed for a harmless call is a sound file refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Architecture:
    """How the kernel names it to a filter, and which column of the tables is its own."""

    audit: int
    column: int


ARCHITECTURES = {
    "x86_64": Architecture(0xC000_003E, 0),
    "aarch64": Architecture(0xC000_00B7, 1),
}

# Since 424 a call has one number everywhere. The last known here is mseal, of Linux 6.10.
NEWEST = 462

# What, and its number on x86_64 and aarch64; None where there is no such call.
Numbers = tuple[int | None, int | None]
REFUSED: Mapping[str, Mapping[str, Numbers]] = {
    "another process or program": {
        "fork": (57, None),
        "vfork": (58, None),
        "execve": (59, 221),
        "execveat": (322, 281),
    },
    "other processes, what they hold and how they run": {
        "ptrace": (101, 117),
        "process_vm_readv": (310, 270),
        "process_vm_writev": (311, 271),
        "process_madvise": (440, 440),
        "process_mrelease": (448, 448),
        "kcmp": (312, 272),
        "pidfd_open": (434, 434),
        "pidfd_getfd": (438, 438),
        "pidfd_send_signal": (424, 424),
        "tkill": (200, 130),
        "rt_sigqueueinfo": (129, 138),
        "rt_tgsigqueueinfo": (297, 240),
        "setpriority": (141, 140),
        "ioprio_set": (251, 30),
        "sched_setaffinity": (203, 122),
        "sched_setattr": (314, 274),
        "sched_setparam": (142, 118),
        "sched_setscheduler": (144, 119),
        "migrate_pages": (256, 238),
        "move_pages": (279, 239),
    },
    "namespaces and mounts": {
        "unshare": (272, 97),
        "setns": (308, 268),
        "mount": (165, 40),
        "umount2": (166, 39),
        "pivot_root": (155, 41),
        "chroot": (161, 51),
        "move_mount": (429, 429),
        "open_tree": (428, 428),
        "fsopen": (430, 430),
        "fsconfig": (431, 431),
        "fsmount": (432, 432),
        "fspick": (433, 433),
        "mount_setattr": (442, 442),
    },
    "serving anybody": {
        "bind": (49, 200),
        "listen": (50, 201),
        "accept": (43, 202),
        "accept4": (288, 242),
    },
    "memory outside of its limit, some of which outlives the process": {
        "shmget": (29, 194),
        "msgget": (68, 186),
        "semget": (64, 190),
        "mq_open": (240, 180),
        "memfd_create": (319, 279),
        "memfd_secret": (447, 447),
    },
    # Landlock does not watch over these: the service's own files, to which the child comes
    # as their owner, would be open to everybody after one chmod.
    "owner, mode and attributes of files": {
        "chmod": (90, None),
        "fchmod": (91, 52),
        "fchmodat": (268, 53),
        "fchmodat2": (452, 452),
        "chown": (92, None),
        "fchown": (93, 55),
        "lchown": (94, None),
        "fchownat": (260, 54),
        "setxattr": (188, 5),
        "lsetxattr": (189, 6),
        "fsetxattr": (190, 7),
        "removexattr": (197, 14),
        "lremovexattr": (198, 15),
        "fremovexattr": (199, 16),
        "utime": (132, None),
        "utimes": (235, None),
        "futimesat": (261, None),
        "utimensat": (280, 88),
    },
    # Should landlock be missing: the parent opens what it finds in the scratch folder.
    "what only looks like a file": {
        "link": (86, None),
        "linkat": (265, 37),
        "symlink": (88, None),
        "symlinkat": (266, 36),
        "mknod": (133, None),
        "mknodat": (259, 33),
    },
    "the kernel itself": {
        "acct": (163, 89),
        "add_key": (248, 217),
        "adjtimex": (159, 171),
        "bpf": (321, 280),
        "clock_adjtime": (305, 266),
        "clock_settime": (227, 112),
        "delete_module": (176, 106),
        "fanotify_init": (300, 262),
        "finit_module": (313, 273),
        "init_module": (175, 105),
        "io_uring_enter": (426, 426),
        "io_uring_register": (427, 427),
        "io_uring_setup": (425, 425),
        "ioperm": (173, None),
        "iopl": (172, None),
        "kexec_file_load": (320, 294),
        "kexec_load": (246, 104),
        "keyctl": (250, 219),
        "lookup_dcookie": (212, 18),
        "modify_ldt": (154, None),
        "name_to_handle_at": (303, 264),
        "open_by_handle_at": (304, 265),
        "perf_event_open": (298, 241),
        "personality": (135, 92),
        "quotactl": (179, 60),
        "quotactl_fd": (443, 443),
        "reboot": (169, 142),
        "request_key": (249, 218),
        "setdomainname": (171, 162),
        "sethostname": (170, 161),
        "settimeofday": (164, 170),
        "swapoff": (168, 225),
        "swapon": (167, 224),
        "syslog": (103, 116),
        "userfaultfd": (323, 282),
        "vhangup": (153, 58),
    },
}

# Refused or not by what is asked of them: see ``seccomp.program``.
CLONE, CLONE3 = (56, 220), (435, 435)
SOCKET, SOCKETPAIR = (41, 198), (53, 199)
KILL_PROCESS, KILL_THREAD = (62, 129), (234, 131)
PRLIMIT, PRCTL, IOCTL = (302, 261), (157, 167), (16, 29)
SECCOMP = (317, 277)
