"""A real SSH server on this machine's loopback: for tests, and to inject faults.

One `sshd` per port, with a host key, an authorised key and a configuration of its own in one
folder; nothing of the user or the system is read or changed. Each port stands for a machine.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import psutil

from timetrial.errors import LaunchError
from timetrial.launch.local import free_port

_PROGRAMS: Final = ("sshd", "ssh", "ssh-keygen")
_UP_S: Final = 20.0
_PRIVILEGE_FOLDER: Final = Path("/run/sshd")  # sshd of root refuses to start without it

_SERVER: Final = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host-{port}
AuthorizedKeysFile {folder}/user.pub
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
LogLevel ERROR
"""
_CLIENT: Final = """\
Host *
  IdentityFile {folder}/user
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
"""
_ALIAS: Final = """\
Host {alias}
  HostName 127.0.0.1
  Port {port}
"""


def reason_against() -> str | None:
    """Return why no server can be started here, with what to do; None where one can."""
    missing = [name for name in _PROGRAMS if _program(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed: sudo apt-get install openssh-server"
    return None


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


class SshServers:
    """Hosts node1, node2 … that run inside the `with` block."""

    def __init__(self, folder: Path, *, hosts: int = 2) -> None:
        """Keep everything in `folder`; starts nothing yet."""
        self.folder = folder
        self.names = tuple(f"node{number + 1}" for number in range(hosts))
        self.config = folder / "ssh_config"
        self.servers: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Start the servers; return when they answer.

        Raises:
            LaunchError: They cannot be started here.
        """
        reason = reason_against()
        if reason is not None:
            raise LaunchError(f"No SSH server can be started here: {reason}.")
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            _PRIVILEGE_FOLDER.mkdir(mode=0o755, exist_ok=True)
        self._make_key("user")
        config, known = _CLIENT.format(folder=self.folder), ""
        for name in self.names:
            port = self._ports[name] = free_port()
            self._make_key(f"host-{port}")
            config = _ALIAS.format(alias=name, port=port) + config
            known += f"[127.0.0.1]:{port} {(self.folder / f'host-{port}.pub').read_text()}"
        self.config.write_text(config)
        (self.folder / "known_hosts").write_text(known)
        try:
            for name in self.names:
                self.start(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the servers and every connection to them."""
        for name in list(self.servers):
            self.stop(name)

    def start(self, name: str) -> None:
        """Start one server.

        Raises:
            LaunchError: It does not answer.
        """
        port = self._ports[name]
        configuration = self.folder / f"sshd-{port}"
        configuration.write_text(_SERVER.format(port=port, folder=self.folder))
        program = _program("sshd")
        assert program is not None  # reason_against
        with (self.folder / f"sshd-{port}.log").open("ab") as log:
            self.servers[name] = subprocess.Popen(
                [program, "-D", "-e", "-f", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C ends the tests; they end the servers
            )
        deadline = time.monotonic() + _UP_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
            except OSError as error:
                if self.servers[name].poll() is not None or time.monotonic() > deadline:
                    said = (self.folder / f"sshd-{port}.log").read_text()
                    raise LaunchError(f"sshd did not come up: {said}") from error
                time.sleep(0.02)
            else:
                return

    def stop(self, name: str) -> None:
        """Kill one server and its connections, as a machine that is switched off ends them."""
        server = self.servers.pop(name)
        for process in [*self.connections(server.pid), psutil.Process(server.pid)]:
            process.kill()
        server.wait()

    @staticmethod
    def connections(server: int) -> list[psutil.Process]:
        """Return the processes of `sshd` itself that serve connections, not what runs in them."""
        below = psutil.Process(server).children(recursive=True)
        return [process for process in below if process.name() == "sshd"]

    def change_host_key(self, name: str) -> None:
        """Have the server show another key than the known one."""
        self.stop(name)
        for suffix in ("", ".pub"):
            (self.folder / f"host-{self._ports[name]}{suffix}").unlink()
        self._make_key(f"host-{self._ports[name]}")
        self.start(name)

    def write_hosts(
        self,
        path: Path,
        *,
        python: str | None,
        environment: Mapping[str, str],
        slots: Sequence[int],
    ) -> Path:
        """Write a hosts file that names the servers, with so many slots each."""
        lines = [f'ssh_config = "{self.config}"', f'user = "{getpass.getuser()}"']
        lines += [f'python = "{python}"'] if python else []
        lines += ["[environment]", *(f'{key} = "{value}"' for key, value in environment.items())]
        for name, count in zip(self.names, slots, strict=False):
            lines += ["[[hosts]]", f'host = "{name}"', f"slots = {count}"]
        path.write_text("\n".join(lines) + "\n")
        return path

    def _make_key(self, name: str) -> None:
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
