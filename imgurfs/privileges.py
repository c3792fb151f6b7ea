"""Giving up, for good, every right that a process does not need any more.

A mount needs the setuid program ``fusermount3`` to come into being and nothing of that
kind afterwards. A service manager cannot take the right away in between; the process
can. What it has given up then: no program it starts has more rights than it has
(``no_new_privs``, in all of its threads), and it has no capabilities. So it cannot
unmount either: whoever asks for this unmounts from outside, as the unit does.

Not a sandbox: what the user may do with files and sockets, the process still may.
Used by ``fuse.session``.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

# From linux/prctl.h, linux/seccomp.h, linux/capability.h and linux/filter.h.
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_SECCOMP_SET_MODE_FILTER: Final = 1
_SECCOMP_FILTER_FLAG_TSYNC: Final = 1
_SECCOMP_RET_ALLOW: Final = 0x7FFF0000
_BPF_RETURN: Final = 0x06
_CAPABILITY_VERSION: Final = 0x20080522
_CAPABILITIES_MAX: Final = 64

#: The number of seccomp(2), which the C library does not wrap. Architectures that are
#: not listed use the kernel's common table.
_SYS_SECCOMP: Final = {"x86_64": 317, "i686": 354, "armv7l": 383, "ppc64le": 358}
_SYS_SECCOMP_COMMON: Final = 277


def drop() -> None:
    """Give up new privileges in all threads, and capabilities in this one.

    Threads that are started later inherit both. An older one keeps its capabilities,
    which only matters to root. Call it on the main thread. Raises OSError when the
    kernel does not let us; then nothing worse has happened than before.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _share_with_all_threads(libc)
    _drop_capabilities(libc)


def _share_with_all_threads(libc: ctypes.CDLL) -> None:
    """Set the flag in threads that exist already.

    prctl(2) speaks for one thread only. A system call filter, though, can be given to
    all threads of a process at once, and takes the flag with it; this one allows
    everything.
    """
    # struct sock_filter and struct sock_fprog, in the machine's own layout.
    allow = struct.pack("@HBBI", _BPF_RETURN, 0, 0, _SECCOMP_RET_ALLOW)
    instructions = ctypes.create_string_buffer(allow, len(allow))
    program = struct.pack("@HP", 1, ctypes.addressof(instructions))
    number = _SYS_SECCOMP.get(os.uname().machine, _SYS_SECCOMP_COMMON)
    code = libc.syscall(
        ctypes.c_long(number),
        ctypes.c_uint(_SECCOMP_SET_MODE_FILTER),
        ctypes.c_uint(_SECCOMP_FILTER_FLAG_TSYNC),
        ctypes.c_char_p(program),
    )
    _check(code)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Empty every capability set of this thread; a user has none anyway."""
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for number in range(_CAPABILITIES_MAX):
        if libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) < 0:
            break  # only root may, or the kernel knows no capability of this number
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _check(libc.capset(ctypes.byref(header), ctypes.byref(nothing)))


def _check(code: int) -> None:
    if code != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
