"""A real Slurm cluster of virtual nodes on this machine: for tests, and to inject faults.

`munged`, `slurmctld` and a `slurmd` per node run as processes of this one, on free ports, in a
folder of their own; nothing of an installed Slurm's configuration is read or changed. Each node has
a CPU of its own as far as there are enough, as machines have.

Source: SchedMD, slurm.conf(5) and slurmd(8) (`-N`, several slurmd on one host), Slurm 22.05.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import psutil

from timetrial.errors import LaunchError

PROGRAMS: Final = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
INSTALL: Final = (
    "scripts/install-system, or: sudo apt-get install munge slurmctld slurmd slurm-client"
)
PARTITION: Final = "test"
_UP_S: Final = 60.0
_DOWN_S: Final = 10.0
_LOOK_S: Final = 0.05

_CONFIGURATION: Final = """\
ClusterName=timetrial
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={socket}
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=30
InactiveLimit=0
KillWait=10
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=50000
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
{nodes}
PartitionName={partition} Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def reason_against() -> str | None:
    """Return why no cluster can be started here, with what to do; None where one can."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        return f"Slurm is not installed ({', '.join(missing)}): {INSTALL}"
    if os.getuid() != 0:
        return "only root can start a Slurm cluster: run as root"
    return None


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


class SlurmCluster:
    """A cluster that runs inside the `with` block; `environment` is what its commands need."""

    def __init__(self, *, nodes: int = 2, cpus: int = 1) -> None:
        """Name `nodes` virtual nodes n1, n2 … with `cpus` CPUs each; starts nothing yet."""
        self.nodes = tuple(f"n{number + 1}" for number in range(nodes))
        self._cpus = cpus
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stack = contextlib.ExitStack()
        self.folder = Path()
        self.environment: Mapping[str, str] = {}
        self.slurmd: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Start the cluster; return when its nodes are idle.

        Raises:
            LaunchError: It cannot be started here; its logs are in the message.
        """
        reason = reason_against()
        if reason is not None:
            raise LaunchError(f"No Slurm cluster can be started here: {reason}.")
        try:
            self.folder = Path(self._stack.enter_context(_readable_folder()))
            for name in ("state", "spool", "run", "log"):
                (self.folder / name).mkdir()
            munge = self._start_munge()
            configuration = self._write_configuration(munge)
            self.environment = {"SLURM_CONF": str(configuration)}
            self._start("slurmctld", "-D", "-f", str(configuration))
            for node, cpus in zip(self.nodes, self._cpu_lists(), strict=True):
                (self.folder / "spool" / node).mkdir()
                prefix = ["taskset", "--cpu-list", cpus] if _program("taskset") else []
                words = ["slurmd", "-D", "-N", node, "-f", str(configuration)]
                self.slurmd[node] = self._start(*words, prefix=prefix)
            self._wait_until_idle()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """Cancel all jobs, stop every process, remove the folder."""
        self._end()

    def command(self, *words: str) -> str:
        """Return what one of Slurm's commands prints.

        Raises:
            LaunchError: It failed.
        """
        done = subprocess.run(
            words,
            env={**os.environ, **self.environment},
            capture_output=True,
            encoding="utf-8",
            timeout=_UP_S,
            check=False,
        )
        if done.returncode != 0:
            raise LaunchError(f"{' '.join(words)} failed: {done.stderr.strip()}")
        return done.stdout

    def jobs(self) -> list[str]:
        """Return the numbers of the jobs that are not over yet."""
        return self.command("squeue", "--noheader", "--format=%A").split()

    def cancel_all(self) -> None:
        """End all jobs at once."""
        for job in self.jobs():
            for words in (("--signal=KILL", f"{job}.0"), (job,)):
                with contextlib.suppress(LaunchError):  # it may end at this moment
                    self.command("scancel", *words)

    def lose(self, node: str) -> None:
        """Kill a node's daemon and all that it started, as when a machine loses its power."""
        below = psutil.Process(self.slurmd[node].pid)
        steps = [p for p in self._left_behind() if _told(p).get("SLURMD_NODENAME") == node]
        for process in [below, *steps]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.slurmd[node].wait()

    def _cpu_lists(self) -> Iterator[str]:
        """Yield the CPUs of each node: its own while there are enough."""
        here = itertools.cycle(sorted(os.sched_getaffinity(0)))
        for _ in self.nodes:
            yield ",".join(str(next(here)) for _ in range(self._cpus))

    def _start(
        self, *words: str, prefix: Sequence[str] = (), user: str | None = None
    ) -> subprocess.Popen[bytes]:
        program = _program(words[0])
        assert program is not None  # reason_against
        with (self.folder / "log" / f"{'-'.join(words[:1])}.out").open("ab") as output:
            process = subprocess.Popen(
                [*prefix, program, *words[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                user=user,
                group=user,
                extra_groups=[] if user else None,
                start_new_session=True,  # Ctrl-C ends the tests; they end the cluster
            )
        self._processes.append(process)
        return process

    def _start_munge(self) -> Path:
        """Start the daemon that signs messages; return its socket."""
        user = "munge" if _has_user("munge") else None
        place = self.folder / "munge"
        place.mkdir(mode=0o711)
        (place / "key").touch(mode=0o600)
        (place / "key").write_bytes(secrets.token_bytes(128))
        if user is not None:
            for path in (place / "key", place):
                shutil.chown(path, user, user)
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed"}
        options = [f"--{option}={place / file}" for option, file in files.items()]
        self._start("munged", "--foreground", f"--log-file={place / 'log'}", *options, user=user)
        return place / "socket"

    def _write_configuration(self, munge: Path) -> Path:
        host = socket.gethostname().partition(".")[0]
        ports = _free_ports(len(self.nodes) + 1)
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
            f"CPUs={self._cpus} RealMemory=4000 State=UNKNOWN"
            for node, port in zip(self.nodes, ports[1:], strict=True)
        )
        path = self.folder / "slurm.conf"
        path.write_text(
            _CONFIGURATION.format(
                host=host,
                port=ports[0],
                socket=munge,
                folder=self.folder,
                nodes=nodes,
                partition=PARTITION,
            )
        )
        return path

    def _wait_until_idle(self) -> None:
        deadline = time.monotonic() + _UP_S
        words = ("sinfo", "--Node", "--noheader", "--format=%t")
        while True:
            ended = next((p for p in self._processes if p.poll() is not None), None)
            with contextlib.suppress(LaunchError):
                if ended is None and self.command(*words).split() == ["idle"] * len(self.nodes):
                    return
            if ended is not None or time.monotonic() > deadline:
                raise LaunchError(f"The Slurm cluster did not come up:\n{self._logs()}")
            time.sleep(_LOOK_S)

    def _logs(self) -> str:
        files = [*(self.folder / "log").glob("*"), *self.folder.glob("munge/log")]
        return "\n".join(f"{file.name}: {_tail(file)}" for file in sorted(files))

    def _end(self) -> None:
        if self.environment and self._processes:
            with contextlib.suppress(LaunchError, subprocess.TimeoutExpired):
                self.cancel_all()
        for process in reversed(self._processes):  # nodes, controller, munge
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(_DOWN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for left in self._left_behind():
            with contextlib.suppress(psutil.Error):
                left.kill()
        self._processes.clear()
        self._stack.close()

    def _left_behind(self) -> Iterator[psutil.Process]:
        """Yield what jobs and their steps left: told by this cluster's configuration."""
        wanted = self.environment.get("SLURM_CONF")
        for process in psutil.process_iter() if wanted else ():
            told = _told(process)
            if told.get("SLURM_CONF") == wanted and process.pid != os.getpid():
                step = "SLURM_JOB_ID" in told
                with contextlib.suppress(psutil.Error):
                    step = step or process.name() == "slurmstepd"
                if step:
                    yield process


@contextlib.contextmanager
def _readable_folder() -> Iterator[str]:
    """Make a folder that the user munge can reach: a test's own is closed to it."""
    folder = tempfile.mkdtemp(prefix="timetrial-slurm-", dir="/tmp")
    try:
        Path(folder).chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _told(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _tail(file: Path) -> str:
    return "\n".join(file.read_text(errors="replace").splitlines()[-5:])
