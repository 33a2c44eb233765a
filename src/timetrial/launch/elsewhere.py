"""Makes workers' places on other machines ready: environment, run directory, data, rendezvous.

What a transport leaves open is a `Site`: the connection, and how workers reach its machine.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import inspect
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar, final

import msgspec

from timetrial.datasets import _decoded
from timetrial.errors import LaunchError
from timetrial.launch import building
from timetrial.launch.link import FarEnd, Link, Machine
from timetrial.launch.mirror import Mirror
from timetrial.launch.mirrored import MirroredJob, Start, start_workers
from timetrial.launch.relocate import Relocated
from timetrial.launch.shipment import Contents, Shipment, contents, differences, make_shipment
from timetrial.plan import Plan
from timetrial.rundir import RunDir
from timetrial.spec import MALFORMED

_BUILD_S: Final = 3600.0
_DATA_S: Final = 3600.0  # a data set may be fetched
_ASK_S: Final = 120.0
_SAID: Final = 600  # characters of what a program said before it failed

T = TypeVar("T")
R = TypeVar("R")
_log = logging.getLogger(__name__)


class Site(NamedTuple):
    """Where one worker is to run."""

    host: str  # as the user calls it
    connect: Callable[[], Link]
    address: Callable[[Machine], str]  # under which the other workers reach it
    python: Callable[[Machine], str | None]  # a Python that is there; None: one is to be built
    environment: Mapping[str, str]  # variables for everything that runs there


class _Interpreter(NamedTuple):
    """A Python that has timetrial, and what is to be said of it."""

    python: str
    contents: Contents
    remark: str


class _Place(NamedTuple):
    """A site that is connected."""

    site: Site
    far: FarEnd
    machine: Machine

    @property
    def key(self) -> tuple[str, str | None]:
        """What two places on one machine have in common."""
        return self.machine.host, self.machine.boot_id


def start_elsewhere(
    sites: Sequence[Site],
    run: RunDir,
    plan: Plan,
    attempt: int,
    resources: contextlib.ExitStack,
) -> MirroredJob:
    """Make everything ready at the sites, a worker each, and start the workers.

    `resources` are closed when the job has ended, or could not begin.

    Raises:
        LaunchError: A machine cannot be reached or used, with the reason.
    """
    crew = _Crew()
    try:
        if plan.script:
            raise LaunchError(
                f"Launcher {plan.launcher} runs workers on machines that do not share this one's "
                f"files; the command {plan.script[0]} and what it reads are here. Leave --launcher "
                "out, or use slurm with a shared file system."
            )
        places = _connect(sites, crew)
        pythons = _interpreters(places, plan, crew)
        _check_alike(places, pythons, plan)
        mirrors = [
            Mirror(run, place.far, attempt=attempt, rank=rank) for rank, place in enumerate(places)
        ]
        data = crew.at_once(
            lambda rank: _send(places[rank], mirrors[rank], pythons[rank].python, plan),
            range(len(places)),
        )
        address = _address(places)
        port = str(places[0].far.free_port())
        starts = [
            Start(
                far=place.far,
                mirror=mirrors[rank],
                words=[
                    pythons[rank].python,
                    *("-P", "-m", "timetrial.launch.agent", "{run}", "--attempt", str(attempt)),
                ],
                environment={
                    "RANK": str(rank),
                    "LOCAL_RANK": str(sum(other.key == place.key for other in places[:rank])),
                    "WORLD_SIZE": str(len(places)),
                    "MASTER_ADDR": address,
                    "MASTER_PORT": port,
                },
                remarks={
                    "host": place.site.host,
                    "environment": pythons[rank].remark,
                    "data": data[rank],
                },
            )
            for rank, place in enumerate(places)
        ]
    except BaseException:
        crew.close()
        resources.close()
        raise
    return start_workers(starts, run, attempt, resources)


@final
class _Crew:
    """The far ends of a run that is being made ready."""

    def __init__(self) -> None:
        self._fars: list[FarEnd] = []

    def add(self, far: FarEnd) -> None:
        self._fars.append(far)

    def abandon(self) -> None:
        """Give all connections up: whoever waits for one is told."""
        for far in list(self._fars):
            far.link.abandon()

    def close(self) -> None:
        self.abandon()
        for far in self._fars:
            far.link.close()

    def at_once(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Return the results in order; an error, or Ctrl-C, ends all of it."""
        things = list(items)
        with concurrent.futures.ThreadPoolExecutor(max_workers=len(things)) as pool:
            futures = [pool.submit(work, thing) for thing in things]
            try:
                concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_EXCEPTION)
                failed = (future for future in futures if future.done() and future.exception())
                for future in failed:  # before those that the next line makes fail
                    future.result()
                return [future.result() for future in futures]
            except BaseException:
                self.abandon()
                raise


def _connect(sites: Sequence[Site], crew: _Crew) -> list[_Place]:
    """Connect to every site."""

    def connected(site: Site) -> _Place:
        far = FarEnd(site.connect())
        crew.add(far)
        return _Place(site, far, far.hello(site.environment))

    return crew.at_once(connected, sites)


def _address(places: Sequence[_Place]) -> str:
    """Return where worker 0 listens, as the others reach it.

    Raises:
        LaunchError: An address that only its own machine can reach.
    """
    first = places[0]
    if all(place.key == first.key for place in places):
        return "127.0.0.1"
    address = first.site.address(first.machine)
    if address in ("localhost", "::1") or address.startswith("127."):
        raise LaunchError(
            f"Worker 0 would listen at {address} on {first.site.host}, which no other machine "
            "reaches. Give its address as the others see it."
        )
    return address


# --- environments --------------------------------------------------------------------------------


def _interpreters(places: Sequence[_Place], plan: Plan, crew: _Crew) -> list[_Interpreter]:
    """Return the Python of each place, one look for each machine."""
    first = {place.key: place for place in reversed(places)}
    looked = crew.at_once(lambda place: _interpreter(place, plan), first.values())
    found = dict(zip(first, looked, strict=True))
    return [found[place.key] for place in places]


def _interpreter(place: _Place, plan: Plan) -> _Interpreter:
    python = place.site.python(place.machine)
    if python is None:
        python, remark = _built(place, make_shipment(plan))
    else:
        remark = python
    there, here = _contents(place, python), contents()
    if there.source_sha256 != here.source_sha256:
        raise LaunchError(
            f"{python} on {place.site.host} has another timetrial ({there.timetrial}) than this "
            f"one ({here.timetrial}): their files differ. Install the same there, or let one be "
            "built."
        )
    differing = differences(there, here, plan.framework)
    absent = [name for name, (seen, _) in differing.items() if seen == "none"]
    if absent:
        raise LaunchError(
            f"{python} on {place.site.host} lacks {', '.join(absent)}. Install there: "
            + " ".join(f"{name}=={differing[name][1]}" for name in absent)
        )
    told = [f"{name} {seen} (here {own})" for name, (seen, own) in differing.items()]
    return _Interpreter(
        python, there, "; differs: ".join([remark, *([", ".join(told)] * bool(told))])
    )


def _contents(place: _Place, python: str) -> Contents:
    code, said = place.far.execute(
        [python, "-P", "-m", "timetrial.launch.shipment"], timeout_s=_ASK_S
    )
    with contextlib.suppress(*MALFORMED, IndexError):
        if code == 0:
            return msgspec.json.decode(said.splitlines()[-1], type=Contents)
    raise LaunchError(
        f"{python} on {place.site.host} has no timetrial like this one: {said[-_SAID:].strip()} "
        "Install the same there, or let one be built."
    )


def _built(place: _Place, shipment: Shipment) -> tuple[str, str]:
    """Return the Python of the environment built there for this shipment, and a remark."""
    machine, far = place.machine, place.far
    name = shipment.name(f"{machine.system} {machine.python} {machine.executable}")
    files = {
        f"{name}.files/{shipment.wheel_name}": shipment.wheel,
        f"{name}.files/constraints.txt": shipment.constraints,
    }
    wheel, constraints = (f"{machine.cache}/{file}" for file in files)
    extras = f"[{','.join(shipment.extras)}]" if shipment.extras else ""
    text = inspect.getsource(building)
    words = [machine.executable, "-I", "-c", text, f"{machine.cache}/{name}", constraints]
    words += [wheel, f"{wheel}{extras}"]
    told = _build(place, words)
    if told.needs_files:
        _log.info("building the environment %s on %s", name, place.site.host)
        for file, content in files.items():
            far.put(file, content, into_cache=True)
        told = _build(place, words)
    did = f"built in {told.seconds:g} s" if told.built else "built before"
    return told.python, f"{machine.cache}/{name}, {did}"


def _build(place: _Place, words: Sequence[str]) -> building.Built:
    code, said = place.far.execute(words, timeout_s=_BUILD_S)
    if code == 0:
        with contextlib.suppress(ValueError, TypeError, IndexError):
            return building.Built(**json.loads(said.splitlines()[-1]))
    raise LaunchError(
        f"No environment could be built on {place.site.host}: {said[-_SAID:].strip()} "
        "Its Python needs the module venv, and pip a way to its packages."
    )


def _check_alike(places: Sequence[_Place], pythons: Sequence[_Interpreter], plan: Plan) -> None:
    """Refuse workers of one run with different versions.

    Raises:
        LaunchError: Names the machines, the packages and versions.
    """
    for place, one in zip(places, pythons, strict=True):
        unlike = differences(one.contents, pythons[0].contents, plan.framework)
        if unlike:
            told = ", ".join(f"{name} {a} and {b}" for name, (a, b) in unlike.items())
            raise LaunchError(
                f"{place.site.host} and {places[0].site.host} differ: {told}. The workers of a run "
                "need the same versions. Install them, or let the environments be built."
            )


# --- files ---------------------------------------------------------------------------------------


def _send(place: _Place, mirror: Mirror, python: str, plan: Plan) -> str:
    """Send the run directory; have the data found there; return where it is."""
    place.far.open(mirror.run.path.name)
    mirror.send(mirror.run.plan.read_bytes())
    told = _relocated(place, python)
    if told.send:
        decoded = _decoded.named_in(plan.data_files)
        assert decoded is not None  # that is what relocate asks for
        _log.info("sending %s to %s", decoded.path, place.site.host)
        _send_own_data(place.far, decoded.path, told.send)
        told = _relocated(place, python)
    if told.error or told.send:
        raise LaunchError(f"On {place.site.host}: {told.error or f'no {told.send}'}")
    return "; ".join(f"{name}: {where}" for name, where in told.places.items())


def _send_own_data(far: FarEnd, path: Path, name: str) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LaunchError(
            f"The decoded data {path} cannot be read: {error.strerror}. Make the plan again."
        ) from error
    far.put(name, content, into_cache=True)


def _relocated(place: _Place, python: str) -> Relocated:
    code, said = place.far.execute(
        [python, "-P", "-m", "timetrial.launch.relocate", "{run}"], timeout_s=_DATA_S
    )
    with contextlib.suppress(*MALFORMED, IndexError):
        if code == 0:
            return msgspec.json.decode(said.splitlines()[-1], type=Relocated)
    raise LaunchError(f"On {place.site.host} the data was not found: {said[-_SAID:].strip()}")
