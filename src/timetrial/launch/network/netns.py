"""Network namespaces without names: each lives as long as a file descriptor or a process in it.

Nothing has to be removed afterwards: the kernel drops a namespace with its devices when the last
process in it has ended and the last descriptor is closed, also when those were killed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from timetrial.errors import LaunchError

T = TypeVar("T")
PROGRAMS: Final = {"ip": "iproute2", "tc": "iproute2", "nsenter": "util-linux"}
_CLONE_NEWNET: Final = 0x40000000
_TUN: Final = Path("/dev/net/tun")
# Source: linux/include/uapi/linux/if_tun.h, read 2026-11-22.
_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_TAP_FLAGS: Final = 0x0002 | 0x1000 | 0x4000  # a TAP, no packet information, virtio header
_TRAINS: Final = 0x01 | 0x02  # checksums left out, trains of IPv4 TCP frames


def new_namespace() -> int:
    """Return the descriptor of a new network namespace, whose loopback is up.

    Raises:
        LaunchError: It may not be made here.
    """

    def make() -> int:
        _call("unshare", _CLONE_NEWNET)
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    try:
        namespace = _in_a_thread(make)
    except OSError as error:
        raise LaunchError(_refused("A network namespace", error)) from error
    inside(namespace, lambda: run_program(["ip", "link", "set", "lo", "up"]))
    return namespace


def inside(namespace: int, work: Callable[[], T]) -> T:
    """Return what `work` returns, called with the namespace as its network.

    A process that it starts is in the namespace too.
    """

    def enter() -> T:
        _call("setns", namespace, _CLONE_NEWNET)
        return work()

    return _in_a_thread(enter)


def open_tap(name: str) -> int:
    """Return the descriptor of a new TAP device in the network of the calling thread.

    Raises:
        LaunchError: It may not be made here.
    """
    import fcntl  # not on Windows

    tap = -1
    try:
        tap = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP_FLAGS))
        fcntl.ioctl(tap, _TUNSETOFFLOAD, _TRAINS)
    except OSError as error:
        if tap >= 0:
            os.close(tap)
        raise LaunchError(_refused(f"A TAP device ({_TUN})", error)) from error
    return tap


def run_program(command: Sequence[str], lines: Sequence[str] = ()) -> str:
    """Run a program with `lines` as its input, and return what it prints.

    Raises:
        LaunchError: It failed.
    """
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LaunchError(
            f"The network of the workers could not be made: {' '.join(command)} failed with "
            f"{done.returncode}: {done.stderr.strip()}. Next step: run it by hand as root, or use "
            "--launcher local."
        )
    return done.stdout


def check_system() -> None:
    """Refuse a system that cannot give each worker a network of its own.

    Raises:
        LaunchError: Not Linux, or a program is not installed.
    """
    if sys.platform != "linux":
        raise LaunchError(
            f"The launcher shaped needs network namespaces, which {sys.platform} does not have. "
            "Run on Linux, or use --launcher local."
        )
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        packages = sorted({PROGRAMS[program] for program in missing})
        raise LaunchError(
            f"The launcher shaped needs the program {missing[0]}, which is not on the PATH. "
            f"Install the system's package {' and '.join(packages)} (Debian: apt install "
            f"{' '.join(packages)}), or use --launcher local."
        )


def _refused(what: str, error: OSError) -> str:
    return (
        f"{what} could not be made: {error.strerror}. The launcher shaped needs the rights "
        f"CAP_SYS_ADMIN and CAP_NET_ADMIN and the file {_TUN}; this process runs as user "
        f"{os.geteuid()}. Next step: run as root, or try "
        "`unshare --user --map-root-user timetrial run ...`, or use --launcher local."
    )


def _in_a_thread(work: Callable[[], T]) -> T:
    """Call `work` in a thread of its own: a namespace is a thread's, and ends with it."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(work).result()


def _call(name: str, *arguments: int) -> None:
    """Call a function of the C library that Python 3.11 does not offer."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*map(ctypes.c_int, arguments)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
