"""The network between the workers of a run: a namespace each, and what joins them.

Shaped: every namespace has a TAP device, and our switch (`delayline`) forwards between them with
the rate, delay and loss asked for; `tc` holds a worker back at its link's rate, as a network card
does. Not shaped: pairs of virtual Ethernet devices, and the kernel's bridge in one more namespace.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self, final

import msgspec

from timetrial.errors import LaunchError
from timetrial.launch.network import netns
from timetrial.launch.network.delayline import Account, Setting
from timetrial.spec.network import Link, Network

INTERFACE: Final = "tt0"
HOSTS: Final = Path("/etc/hosts")
WORKERS_MAX: Final = 1000  # the switch waits with select(2), which knows 1024 descriptors
_BURST_S: Final = 0.01  # what `tc` lets through at once; the switch spaces it out
_BURST_BYTES: Final = (128 * 1024, 1024 * 1024)  # a train of 64 KiB and one that follows it
_TRAIN_S: Final = 0.002  # longer trains would arrive all at once, where single frames would not
_FRAME_BYTES: Final = 1514
_TC_QUEUE_BYTES: Final = 4 * 2**20
_HOSTS_SCRIPT: Final = 'mount --bind "$0" /etc/hosts && exec "$@"'
_CLOSE_S: Final = 5.0

_log = logging.getLogger(__name__)


def address(rank: int) -> str:
    """Return the IP address of one worker: 10.77.0.1, 10.77.0.2 and so on."""
    return f"10.77.{(rank + 1) // 256}.{(rank + 1) % 256}"


def hardware_address(rank: int) -> str:
    """Return the hardware address of one worker's device."""
    return f"02:00:0a:4d:{(rank + 1) // 256:02x}:{(rank + 1) % 256:02x}"


def link_up(rank: int, workers: int) -> list[str]:
    """Return what `ip -batch` is told to bring a worker's device up; it knows all others then."""
    others = [
        f"neigh replace {address(other)} lladdr {hardware_address(other)} dev {INTERFACE} "
        "nud permanent"
        for other in range(workers)
        if other != rank
    ]
    return [f"link set {INTERFACE} up", *others]


@final
class Wires:
    """The network of one attempt, there inside the `with` block."""

    def __init__(self, network: Network, workers: int, *, seed: int, folder: Path) -> None:
        """Keep what to make; `folder` takes a hosts file for each worker, gone afterwards."""
        self._network = network
        self._workers = workers
        self._seed = seed
        self._folder = folder
        self._namespaces: list[int] = []
        self._switch: subprocess.Popen[bytes] | None = None
        self._resources = contextlib.ExitStack()
        self.account: Account | None = None  # of the switch, once closed

    def __enter__(self) -> Self:
        """Make the namespaces, join them, start the switch.

        Raises:
            LaunchError: The rights or the means are not there.
        """
        netns.check_system()
        if self._workers > WORKERS_MAX:
            raise LaunchError(
                f"--workers {self._workers} is too many for the launcher shaped. "
                f"Allowed: up to {WORKERS_MAX}."
            )
        with contextlib.ExitStack() as made:
            for rank in range(self._workers):
                namespace = netns.new_namespace()
                made.callback(os.close, namespace)
                self._namespaces.append(namespace)
                hosts = self._hosts(rank)
                made.callback(hosts.unlink, missing_ok=True)
                hosts.write_text(
                    f"127.0.0.1 localhost\n{address(rank)} {socket.gethostname()}\n",
                    encoding="utf-8",
                )
            if self.shaped:
                self._join_by_switch(made)
            else:
                self._join_by_bridge(made)
            self._resources = made.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the switch and drop the namespaces: they are gone with their last process."""
        self._resources.close()

    @property
    def shaped(self) -> bool:
        """Whether anything is emulated."""
        return any(self._network.link(rank) != Link() for rank in range(self._workers))

    def prefix(self, rank: int) -> list[str]:
        """Return what to put before a worker's command; its process number stays the same."""
        namespace = f"/proc/{os.getpid()}/fd/{self._namespaces[rank]}"
        words = ["nsenter", f"--net={namespace}", "unshare", "--mount"]
        return [*words, "/bin/sh", "-c", _HOSTS_SCRIPT, str(self._hosts(rank))]

    def environment(self) -> dict[str, str]:
        """Return what a worker is told, so that it uses this network and no short cut."""
        return {
            "MASTER_ADDR": address(0),
            "GLOO_SOCKET_IFNAME": INTERFACE,
            "NCCL_SOCKET_IFNAME": INTERFACE,
            "NCCL_P2P_DISABLE": "1",
            "NCCL_SHM_DISABLE": "1",
        }

    def check(self) -> None:
        """Look whether the switch still runs.

        Raises:
            LaunchError: It does not.
        """
        if self._switch is not None and self._switch.poll() is not None:
            raise LaunchError(
                f"The switch between the workers ended with {self._switch.returncode}; what it "
                "said is above. Next step: continue with timetrial run --resume."
            )

    def _hosts(self, rank: int) -> Path:
        return self._folder.absolute() / f".hosts.{os.getpid()}.{rank}"

    def _join_by_bridge(self, made: contextlib.ExitStack) -> None:
        middle = netns.new_namespace()
        made.callback(os.close, middle)
        lines = ["link add br0 type bridge stp_state 0 forward_delay 0", "link set br0 up"]
        for rank, namespace in enumerate(self._namespaces):
            lines += [
                f"link add p{rank} type veth peer name {INTERFACE}",
                f"link set p{rank} master br0 up",
                f"link set {INTERFACE} netns /proc/{os.getpid()}/fd/{namespace}",
            ]
        netns.inside(middle, lambda: netns.run_program(["ip", "-batch", "-"], lines))
        for rank, namespace in enumerate(self._namespaces):
            netns.inside(namespace, functools.partial(self._bring_up, rank))

    def _join_by_switch(self, made: contextlib.ExitStack) -> None:
        taps: list[int] = []
        with contextlib.ExitStack() as until_passed_on:
            for rank, namespace in enumerate(self._namespaces):
                tap = netns.inside(namespace, functools.partial(self._make_tap, rank))
                until_passed_on.callback(os.close, tap)
                taps.append(tap)
            ranks = range(self._workers)
            setting = Setting(
                taps=tuple(taps),
                addresses=tuple(hardware_address(rank).replace(":", "") for rank in ranks),
                links=tuple(self._network.link(rank) for rank in ranks),
                seed=self._seed,
            )
            self._switch = subprocess.Popen(
                [sys.executable, "-P", "-m", "timetrial.launch.network.delayline"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=taps,
                start_new_session=True,  # Ctrl-C reaches the parent alone
            )
        made.callback(self._end_switch)
        assert self._switch.stdin is not None
        assert self._switch.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._switch.stdin.write(msgspec.json.encode(setting) + b"\n")
            self._switch.stdin.flush()
        if self._switch.stdout.readline() != b"ready\n":
            self._switch.wait()
            self.check()

    def _make_tap(self, rank: int) -> int:
        tap = netns.open_tap(INTERFACE)
        try:
            self._bring_up(rank)
            rate = self._network.link(rank).rate_bit_per_s
            if rate is not None:
                least, most = _BURST_BYTES
                burst = min(max(round(rate * _BURST_S / 8), least), most)
                words = f"tc qdisc add dev {INTERFACE} root tbf rate {round(rate)}bit"
                words += f" burst {burst} limit {_TC_QUEUE_BYTES}"
                netns.run_program(words.split())
                longest = max(1, round(rate * _TRAIN_S / 8 / _FRAME_BYTES))
                words = f"ip link set {INTERFACE} gso_max_segs {min(longest, 64)}"
                netns.run_program(words.split())
        except BaseException:
            os.close(tap)
            raise
        return tap

    def _bring_up(self, rank: int) -> None:
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1", encoding="ascii")
        named = [
            f"link set {INTERFACE} address {hardware_address(rank)}",
            f"address add {address(rank)}/16 dev {INTERFACE}",
        ]
        netns.run_program(["ip", "-batch", "-"], [*named, *link_up(rank, self._workers)])

    def _end_switch(self) -> None:
        switch = self._switch
        assert switch is not None
        try:
            last, _ = switch.communicate(timeout=_CLOSE_S)  # its input ends: so does it
        except subprocess.TimeoutExpired:
            switch.kill()
            last, _ = switch.communicate()
        try:
            self.account = msgspec.json.decode(last, type=Account)
        except msgspec.DecodeError:
            _log.warning("The switch between the workers ended with %d", switch.returncode)
