"""Workers on other machines over OpenSSH, listed in a hosts file (`hosts`).

The system's own `ssh` connects, with the user's configuration, keys and agent: no key is asked for
or stored here, and a host whose key is not known is refused. What it is told to run is the same few
words for every run; all else goes over its standard input (`link`, `far`).

Source: ssh(1) and ssh_config(5) of OpenSSH 9.2.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

import msgspec

from timetrial.errors import LaunchError, UsageError
from timetrial.launch.remote.elsewhere import Site, start_elsewhere
from timetrial.launch.remote.hosts import Host, read_hosts, seats
from timetrial.launch.remote.link import Machine
from timetrial.launch.remote.mirrored import MirroredJob
from timetrial.launch.remote.pipe import ChildWires, PipeLink, far_command
from timetrial.plan import Plan
from timetrial.rundir import RunDir

CONNECT_S: Final = 10
_GREETING_S: Final = 30.0  # a login shell and a Python start
_OPTIONS: Final = (
    "BatchMode=yes",  # asks nobody
    "StrictHostKeyChecking=yes",
    f"ConnectTimeout={CONNECT_S}",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "ControlMaster=auto",  # workers on one host share a connection
    "ControlPersist=no",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RequestTTY=no",
    "LogLevel=ERROR",
)
_HOST_NAME: Final = re.compile(r"^hostname (\S+)$", re.MULTILINE)


@final
class SshLauncher:
    """Runs each worker in a slot of a host; `plan.cluster` is the hosts file."""

    def settle(self, plan: Plan) -> Plan:
        """Return the plan with the hosts file's whole path, once it is read and has the slots.

        Raises:
            UsageError: No hosts file, or not enough slots in it.
        """
        path = _hosts_file(plan).absolute()
        seats(read_hosts(path), plan.workers)
        return msgspec.structs.replace(plan, cluster=str(path))

    def start(self, run: RunDir, plan: Plan, attempt: int) -> MirroredJob:
        """Connect, send and start everything.

        Raises:
            UsageError: No hosts file, or not enough slots in it.
            LaunchError: A host cannot be reached, is not the one that is known, or cannot run them.
        """
        hosts = seats(read_hosts(_hosts_file(plan)), plan.workers)
        if shutil.which("ssh") is None:
            raise LaunchError("There is no ssh here. Install OpenSSH's client.")
        resources = contextlib.ExitStack()
        sockets = resources.enter_context(tempfile.TemporaryDirectory(prefix="timetrial-ssh-"))
        sites = [_site(host, Path(sockets)) for host in hosts]
        return start_elsewhere(lambda: sites, run, plan, attempt, resources)


def _hosts_file(plan: Plan) -> Path:
    if not plan.cluster:
        raise UsageError("Launcher ssh needs a hosts file: add --cluster hosts.toml.")
    return Path(plan.cluster)


def _site(host: Host, sockets: Path) -> Site:
    def address(_: Machine) -> str:
        return host.address or _host_name(host)

    return Site(
        host=host.host,
        link=_link(host, sockets),
        address=address,
        python=lambda _: host.python,
        environment=host.environment,
    )


def ssh_words(host: Host, sockets: Path | None = None) -> list[str]:
    """Return `ssh` with its options, up to the host's name."""
    words = ["ssh", "-T"]
    words += ["-F", host.ssh_config] if host.ssh_config else []
    for option in _OPTIONS:
        words += ["-o", option]
    words += ["-o", f"ControlPath={sockets}/%C"] if sockets else []
    words += ["-l", host.user] if host.user else []
    words += ["-p", str(host.port)] if host.port else []
    return [*words, "--", host.host]


def remote_command(python: str) -> str:
    """Return what the login shell is given: fixed words, and the path of a Python, all quoted."""
    return " ".join(shlex.quote(word) for word in ("exec", *far_command(python)))


def _link(host: Host, sockets: Path) -> PipeLink:
    words = [*ssh_words(host, sockets), remote_command(host.python or host.bare_python)]
    wires = ChildWires(words, lambda said: _explained(host, said))
    return PipeLink(host.host, wires, greeting_s=_GREETING_S)


def _explained(host: Host, said: str) -> str:
    """Return what went wrong with a connection, and what to do."""
    steps: Sequence[tuple[str, str]] = (
        (
            "REMOTE HOST IDENTIFICATION HAS CHANGED",
            "Its key is not the known one: find out why before anything else. Nothing was sent.",
        ),
        (
            "Host key verification failed",
            "Its key is not known here. Compare its fingerprint with what its owner says: connect "
            f"once with `ssh {host.host}`. Nothing was sent.",
        ),
        (
            "Permission denied",
            "Nothing is asked for: a key that an agent holds or that has no passphrase must do.",
        ),
        ("timetrial needs Python", "Name a newer one in the hosts file: bare_python."),
        ("not found", "Name a Python that is there in the hosts file: bare_python or python."),
        ("No such file", "Name a Python that is there in the hosts file: bare_python or python."),
    )
    for words, step in steps:
        if words in said:
            return f"{host.host} cannot be used: {said} {step}"
    return f"{host.host} cannot be reached: {said} Try it by hand: ssh {host.host} true"


def _host_name(host: Host) -> str:
    """Return the name or address that ssh connects to."""
    words = ssh_words(host)
    told = subprocess.run(
        [*words[:-2], "-G", *words[-2:]], capture_output=True, text=True, check=False
    )
    found = _HOST_NAME.search(told.stdout)
    return found[1] if found else host.host
