"""No network but loopback, for this process and all that it starts: a namespace of its own.

Done before anything else is imported: a user namespace can only be made by a process of one thread.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Final

# Source: linux/include/uapi/linux/sched.h, sockios.h and if.h, read 2026-11-23.
_NEW_USER: Final = 0x10000000
_NEW_NETWORK: Final = 0x40000000
_GET_FLAGS, _SET_FLAGS = 0x8913, 0x8914
_UP: Final = 1


def seal() -> tuple[bool, str]:
    """Leave this machine's network; return whether that was done, and how, or why not."""
    if sys.platform != "linux":
        return False, f"{sys.platform} has no network namespaces; the tool's offline mode alone"
    user, group = os.getuid(), os.getgid()
    why = _unshare(_NEW_NETWORK)
    if why:
        why = _unshare(_NEW_USER | _NEW_NETWORK)
        if why:
            return False, f"no network namespace: {why}; the tool's offline mode alone"
        me = Path("/proc/self")
        (me / "setgroups").write_text("deny")
        (me / "uid_map").write_text(f"{user} {user} 1")
        (me / "gid_map").write_text(f"{group} {group} 1")
    _raise_loopback()
    return True, "a network namespace with loopback alone"


def _unshare(flags: int) -> str:
    """Return why it was refused; empty where it was done."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) == 0:
        return ""
    return os.strerror(ctypes.get_errno())


def _raise_loopback() -> None:
    import fcntl  # Linux and macOS alone have it

    name = b"lo"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        answer = fcntl.ioctl(asking, _GET_FLAGS, struct.pack("16sH22x", name, 0))
        flags = struct.unpack("16sH22x", answer)[1]
        fcntl.ioctl(asking, _SET_FLAGS, struct.pack("16sH22x", name, flags | _UP))
