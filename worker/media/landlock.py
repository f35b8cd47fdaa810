"""Landlock: from here on this process opens no file, reaches no port and signals no process outside.

The ruleset handles every right that the running kernel knows and grants none.
"""

import ctypes
import os
import struct

# The same numbers on every machine.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_ASK_VERSION = 1

_FILE_RIGHTS = (0, 13, 14, 15, 15, 16, 16)
"""How many file rights each version of the interface knows, from version 1 on in order (index 0: none)."""
_BIND_AND_CONNECT = 3
_ABSTRACT_SOCKETS_AND_SIGNALS = 3
_WITH_NETWORK, _WITH_SCOPES = 4, 6

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def restrict() -> bool:
    """Give up all of it; needs no-new-privileges. False where the kernel has no Landlock (before 5.13)."""
    version = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_ASK_VERSION))
    if version < 1:
        return False
    rights = (1 << _FILE_RIGHTS[min(version, len(_FILE_RIGHTS) - 1)]) - 1
    network = _BIND_AND_CONNECT if version >= _WITH_NETWORK else 0
    scopes = _ABSTRACT_SOCKETS_AND_SIGNALS if version >= _WITH_SCOPES else 0
    # An older kernel takes the longer structure as long as what it doesn't know is zero.
    ruleset = struct.pack("=QQQ", rights, network, scopes)
    fd = _libc.syscall(_CREATE_RULESET, ruleset, ctypes.c_size_t(len(ruleset)), ctypes.c_uint(0))
    if fd < 0:
        return False
    restricted = bool(_libc.syscall(_RESTRICT_SELF, ctypes.c_int(fd), ctypes.c_uint(0)) == 0)
    os.close(fd)
    return restricted
