"""A process that gives up its rights: bounded memory and files, no way to open, connect, start or signal anything.

From then on it can compute, read and write what is open already, receive what its parent sends it, and end. Linux keeps
it so by a filter of system calls (seccomp(2), Documentation/userspace-api/seccomp_filter.rst), which needs no
privileges and cannot be taken back. Everything that is not on the list fails with EPERM.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import platform
import struct
import sys
from dataclasses import dataclass

_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2  # prctl(2): PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER

# Name -> numbers on x86_64 and aarch64 (Linux: asm/unistd_64.h, asm-generic/unistd.h). Left out on purpose: all that
# opens, names, connects, forks, executes, signals, traces, or changes limits.
_CALLS: dict[str, tuple[int, int]] = {
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67), "pwrite64": (18, 68),
    "lseek": (8, 62), "ftruncate": (77, 46), "close": (3, 57), "fstat": (5, 80), "newfstatat": (262, 79),
    "recvmsg": (47, 212), "recvfrom": (45, 207), "sendmsg": (46, 211), "sendto": (44, 206),
    "munmap": (11, 215), "mremap": (25, 216), "brk": (12, 214), "madvise": (28, 233),
    "futex": (202, 98), "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "membarrier": (324, 283),
    "rseq": (334, 293), "set_robust_list": (273, 99), "getpid": (39, 172), "gettid": (186, 178),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169), "clock_nanosleep": (230, 115),
    "restart_syscall": (219, 128), "getrandom": (318, 278), "getrusage": (98, 165),
    "exit": (60, 93), "exit_group": (231, 94),
}  # fmt: skip
_MAPPING: dict[str, tuple[int, int]] = {"mmap": (9, 222), "mprotect": (10, 226)}  # allowed, but not to run code there
_PROT_EXEC = 4
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above; AUDIT_ARCH_* of linux/audit.h

# linux/bpf_common.h, linux/seccomp.h
_LOAD, _JUMP_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _DENY = 0x7FFF0000, 0x00050000 | errno.EPERM
_NUMBER, _ARCHITECTURE, _THIRD_ARGUMENT = 0, 4, 32  # places in struct seccomp_data (both machines are little-endian)


@dataclass(frozen=True)
class Limits:
    memory: int  # bytes of address space
    file: int  # bytes of the largest file that is written
    open_files: int


def limit(limits: Limits) -> None:
    """Limit this process for good; it leaves no core dump either. Nothing where the system has no limits (Windows)."""
    with contextlib.suppress(ImportError):
        import resource

        for kind, value in (
            (resource.RLIMIT_AS, limits.memory),
            (resource.RLIMIT_FSIZE, limits.file),
            (resource.RLIMIT_NOFILE, limits.open_files),
            (resource.RLIMIT_CORE, 0),
        ):
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))


def confine() -> bool:
    """Only what is on the list from here on; False where this system cannot be asked for that.

    Whatever is still to be imported must have been imported before.
    """
    column, architecture = _ARCHITECTURES.get(platform.machine(), (0, 0))
    if sys.platform != "linux" or not architecture or sys.maxsize < 1 << 32:
        return False
    program = _program(column, architecture)
    code = ctypes.create_string_buffer(program, len(program))
    descriptor = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    if prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return False
    return bool(prctl(_SECCOMP, _FILTER, ctypes.addressof(descriptor), 0, 0) == 0)


def _program(column: int, architecture: int) -> bytes:
    """The filter as instructions of the BPF machine: (code, jump if true, jump if false, value)."""
    calls = sorted(numbers[column] for numbers in _CALLS.values())
    mapping = sorted(numbers[column] for numbers in _MAPPING.values())
    steps = [(_LOAD, 0, 0, _ARCHITECTURE), (_JUMP_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _DENY)]
    steps.append((_LOAD, 0, 0, _NUMBER))
    checks = [*calls, *mapping]
    for i, number in enumerate(checks):
        # What follows the checks: deny, allow, and the look at what memory is to be used for.
        after = len(checks) - i - 1
        steps.append((_JUMP_EQUAL, after + (1 if number in calls else 2), 0, number))
    steps += [(_RETURN, 0, 0, _DENY), (_RETURN, 0, 0, _ALLOW)]
    steps += [(_LOAD, 0, 0, _THIRD_ARGUMENT), (_JUMP_ANY_BIT, 0, 1, _PROT_EXEC)]
    steps += [(_RETURN, 0, 0, _DENY), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("<HBBI", *step) for step in steps)
