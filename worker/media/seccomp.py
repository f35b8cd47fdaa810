"""A filter of system calls for the decoding child: it may compute, and read and write what it already holds.

The filter is a list of what is allowed. What only an intruder asks for ends the child; everything else is
refused with an error, which a decoder survives. It is written by hand because no standard module makes one.
"""

import ctypes
import errno
import platform
import struct

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

_LOAD = 0x20
"""BPF_LD | BPF_W | BPF_ABS: load a word of `struct seccomp_data`."""
_EQUAL = 0x15
_AT_LEAST = 0x35
_ANY_BIT = 0x45
_RETURN = 0x06
_INSTRUCTION = struct.Struct("=HBBI")

_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_ERROR = 0x00050000

_AT_NUMBER, _AT_MACHINE, _AT_ARGUMENTS = 0, 4, 16
_X32 = 0x40000000
"""On x86-64 the same calls have a second set of numbers from here on, which a list of numbers would miss."""

_PROT_EXEC = 4
_CLONE_THREAD = 0x00010000
_DUPLICATE_OR_LOOK = (0, 1, 2, 3, 1030)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC; not F_SETOWN, which can send signals."""
_NAME_THREAD_OR_MEMORY = (15, 0x53564D41)
"""PR_SET_NAME and PR_SET_VMA."""

# Numbers of the calls: (machine word of <linux/audit.h>, {call: number}).
_X86_64 = (
    0xC000003E,
    {
        "read": 0, "write": 1, "close": 3, "fstat": 5, "poll": 7, "lseek": 8, "mmap": 9, "mprotect": 10,
        "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "pread64": 17,
        "readv": 19, "writev": 20, "sched_yield": 24, "mremap": 25, "madvise": 28, "nanosleep": 35,
        "getpid": 39, "socket": 41, "connect": 42, "accept": 43, "sendto": 44, "sendmsg": 46, "bind": 49,
        "listen": 50, "socketpair": 53, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "exit": 60,
        "uname": 63, "fcntl": 72, "gettimeofday": 96, "getrusage": 98, "sysinfo": 99, "times": 100,
        "ptrace": 101, "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "sigaltstack": 131,
        "pivot_root": 155, "prctl": 157, "chroot": 161, "mount": 165, "init_module": 175, "gettid": 186,
        "futex": 202, "sched_getaffinity": 204, "restart_syscall": 219, "clock_gettime": 228,
        "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231, "kexec_load": 246, "add_key": 248,
        "request_key": 249, "keyctl": 250, "unshare": 272, "set_robust_list": 273, "perf_event_open": 298,
        "prlimit64": 302, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311,
        "finit_module": 313, "getrandom": 318, "bpf": 321, "execveat": 322, "userfaultfd": 323,
        "membarrier": 324, "rseq": 334, "pidfd_send_signal": 424, "io_uring_setup": 425, "clone3": 435,
        "pidfd_getfd": 438,
    },
)  # fmt: skip
_AARCH64 = (
    0xC00000B7,
    {
        "fcntl": 25, "mount": 40, "pivot_root": 41, "chroot": 51, "close": 57, "lseek": 62, "read": 63,
        "write": 64, "readv": 65, "writev": 66, "pread64": 67, "ppoll": 73, "fstat": 80, "exit": 93,
        "exit_group": 94, "unshare": 97, "futex": 98, "set_robust_list": 99, "nanosleep": 101,
        "kexec_load": 104, "init_module": 105, "clock_gettime": 113, "clock_getres": 114,
        "clock_nanosleep": 115, "ptrace": 117, "sched_getaffinity": 123, "sched_yield": 124,
        "restart_syscall": 128, "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135,
        "rt_sigreturn": 139, "times": 153, "uname": 160, "getrusage": 165, "prctl": 167, "gettimeofday": 169,
        "getpid": 172, "getuid": 174, "geteuid": 175, "getgid": 176, "getegid": 177, "gettid": 178,
        "sysinfo": 179, "socket": 198, "socketpair": 199, "bind": 200, "listen": 201, "accept": 202,
        "connect": 203, "sendto": 206, "sendmsg": 211, "brk": 214, "munmap": 215, "mremap": 216,
        "add_key": 217, "request_key": 218, "keyctl": 219, "clone": 220, "execve": 221, "mmap": 222,
        "mprotect": 226, "madvise": 233, "perf_event_open": 241, "prlimit64": 261, "setns": 268,
        "process_vm_readv": 270, "process_vm_writev": 271, "finit_module": 273, "getrandom": 278,
        "bpf": 280, "execveat": 281, "userfaultfd": 282, "membarrier": 283, "rseq": 293,
        "pidfd_send_signal": 424, "io_uring_setup": 425, "clone3": 435, "pidfd_getfd": 438,
    },
)  # fmt: skip
_MACHINES = {"x86_64": _X86_64, "aarch64": _AARCH64}

_ALLOWED = (
    # Its media, its result and its memory.
    "read", "write", "readv", "writev", "pread64", "lseek", "fstat", "close", "munmap", "mremap", "brk",
    "madvise",
    # Time, threads' waiting, its own signals and its end.
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "times", "getrusage",
    "futex", "sched_yield", "sched_getaffinity", "poll", "ppoll", "restart_syscall", "membarrier", "rseq",
    "set_robust_list", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "exit", "exit_group",
    # What it is, which tells nothing of others.
    "getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "uname", "sysinfo", "getrandom",
)  # fmt: skip

_INTRUSIONS = (
    "socket", "socketpair", "connect", "bind", "listen", "accept", "sendto", "sendmsg", "fork", "vfork",
    "execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd",
    "pidfd_send_signal", "unshare", "setns", "mount", "pivot_root", "chroot", "init_module", "finit_module",
    "kexec_load", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "add_key", "request_key",
    "keyctl",
)  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install(*, threads: bool) -> bool:
    """Filter the calls of this process from now on; needs no-new-privileges. False where it can't be done.

    Without `threads` none can be started; processes never. New executable memory is refused, so nothing
    that a decoder was made to write can be made to run by mapping it anew.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    instructions = _filter(*machine, threads=threads)
    program = _Program(len(instructions) // _INSTRUCTION.size, instructions)
    return bool(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _filter(machine: int, numbers: dict[str, int], *, threads: bool) -> bytes:
    refuse = _ERROR | errno.EPERM
    program = [_load(_AT_MACHINE), _jump(_EQUAL, machine, 1, 0), _return(_KILL), _load(_AT_NUMBER)]
    program += [_jump(_AT_LEAST, _X32, 0, 1), _return(_KILL)]
    for call in _ALLOWED:
        if call in numbers:
            program += _when(numbers[call], [_return(_ALLOW)])
    for call in ("mmap", "mprotect"):
        writable = [_argument(2), _jump(_ANY_BIT, _PROT_EXEC, 1, 0), _return(_ALLOW), _return(refuse)]
        program += _when(numbers[call], writable)
    program += _when(numbers["fcntl"], _one_of(1, _DUPLICATE_OR_LOOK, refuse))
    program += _when(numbers["prctl"], _one_of(0, _NAME_THREAD_OR_MEMORY, refuse))
    # Limits may be read, of itself; set on its zygote they would end it.
    own_limits = [
        *(_argument(0), _jump(_EQUAL, 0, 0, 5)),
        *(_argument(2), _jump(_EQUAL, 0, 0, 3)),
        *(_argument(2, high=True), _jump(_EQUAL, 0, 0, 1), _return(_ALLOW), _return(refuse)),
    ]
    program += _when(numbers["prlimit64"], own_limits)
    # A filter can't read the arguments of clone3; the C library falls back to clone, which it can.
    program += _when(numbers["clone3"], [_return(_ERROR | errno.ENOSYS)])
    thread = _return(_ALLOW if threads else _ERROR | errno.EAGAIN)
    of_thread = [_argument(0), _jump(_ANY_BIT, _CLONE_THREAD, 0, 1), thread, _return(_KILL)]
    program += _when(numbers["clone"], of_thread)
    for call in _INTRUSIONS:
        if call in numbers:
            program += _when(numbers[call], [_return(_KILL)])
    return b"".join([*program, _return(refuse)])


def _when(number: int, steps: list[bytes]) -> list[bytes]:
    """Do `steps`, which end in a return, for one call; go on behind them for every other."""
    return [_jump(_EQUAL, number, 0, len(steps)), *steps]


def _one_of(argument: int, values: tuple[int, ...], refuse: int) -> list[bytes]:
    """Allow the call where the low half of an argument is one of `values`."""
    checks = [_jump(_EQUAL, value, len(values) - at, 0) for at, value in enumerate(values)]
    return [_argument(argument), *checks, _return(refuse), _return(_ALLOW)]


def _argument(at: int, *, high: bool = False) -> bytes:
    return _load(_AT_ARGUMENTS + 8 * at + (4 if high else 0))


def _load(offset: int) -> bytes:
    return _INSTRUCTION.pack(_LOAD, 0, 0, offset)


def _jump(test: int, value: int, if_so: int, if_not: int) -> bytes:
    return _INSTRUCTION.pack(test, if_so, if_not, value)


def _return(action: int) -> bytes:
    return _INSTRUCTION.pack(_RETURN, 0, 0, action)
