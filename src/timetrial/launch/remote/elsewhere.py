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
from timetrial.launch.remote import building
from timetrial.launch.remote.arrival import Arrived
from timetrial.launch.remote.link import FarEnd, Link, LostError, Machine
from timetrial.launch.remote.mirror import Mirror
from timetrial.launch.remote.mirrored import MirroredJob, Start
from timetrial.launch.remote.shipment import (
    Contents,
    Shipment,
    contents,
    differences,
    make_shipment,
)
from timetrial.plan import Plan
from timetrial.rundir import RunDir
from timetrial.spec import MALFORMED

_ASK_S: Final = 120.0
_BUILD_S: Final = 3600.0
_DATA_S: Final = 3600.0  # a data set may be fetched
_SAID: Final = 600  # characters of what a program said before it failed

_IS_THERE: Final = "import importlib.util as u, sys; sys.exit(u.find_spec('timetrial') is None)"

T = TypeVar("T")
R = TypeVar("R")
_log = logging.getLogger(__name__)


class Site(NamedTuple):
    """Where one worker is to run."""

    host: str  # as the user calls it
    link: Link
    address: Callable[[Machine], str]  # under which the other workers reach it
    python: Callable[[Machine], str | None]  # a Python that is there; None: one is to be built
    environment: Mapping[str, str]  # variables for everything that runs there
    may_build: bool = False  # where that Python has no timetrial at all


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
    sites: Callable[[], Sequence[Site]],
    run: RunDir,
    plan: Plan,
    attempt: int,
    resources: contextlib.ExitStack,
    *,
    give_up: Callable[[], None] = lambda: None,
) -> MirroredJob:
    """Begin to make everything ready at the sites, a worker each, and to start the workers.

    `sites` may take its time; `give_up` has it end early. `resources` are closed with the job.

    Raises:
        LaunchError: The plan is one that cannot be sent.
    """
    if plan.script:
        raise LaunchError(
            f"Launcher {plan.launcher} runs workers on machines that do not share this one's "
            f"files; the command {plan.script[0]} and what it reads are here. Leave --launcher "
            "out, or use slurm with a shared file system."
        )
    crew = _Crew()
    resources.callback(crew.close)

    def give_all_up() -> None:
        give_up()
        crew.abandon()

    return MirroredJob(
        run, attempt, lambda: _ready(sites(), run, plan, attempt, crew), give_all_up, resources
    )


def _ready(
    sites: Sequence[Site], run: RunDir, plan: Plan, attempt: int, crew: _Crew
) -> list[Start]:
    places = crew.at_once(lambda site: _connect(site, crew), sites)
    pythons = _interpreters(places, plan, crew)
    mirrors = [
        Mirror(run, place.far, attempt=attempt, rank=rank) for rank, place in enumerate(places)
    ]
    arrivals = crew.at_once(
        lambda rank: _send(places[rank], mirrors[rank], pythons[rank][0], plan), range(len(places))
    )
    _check_alike(places, [arrived.contents for arrived in arrivals], plan)
    address, port = _address(places), str(places[0].far.free_port())
    words = ["-P", "-m", "timetrial.launch.agent", "{run}", "--attempt", str(attempt)]
    return [
        Start(
            far=place.far,
            mirror=mirrors[rank],
            words=[pythons[rank][0], *words],
            environment={
                "RANK": str(rank),
                "LOCAL_RANK": str(sum(other.key == place.key for other in places[:rank])),
                "WORLD_SIZE": str(len(places)),
                "MASTER_ADDR": address,
                "MASTER_PORT": port,
            },
            remarks={
                "site": place.site.host,
                "environment": "; ".join([pythons[rank][1], *_differing(arrivals[rank], plan)]),
                "data": "; ".join(f"{n}: {where}" for n, where in arrivals[rank].places.items()),
            },
        )
        for rank, place in enumerate(places)
    ]


@final
class _Crew:
    """The far ends of a run that is being made ready."""

    def __init__(self) -> None:
        self._fars: list[FarEnd] = []
        self._closed = False

    def add(self, far: FarEnd) -> None:
        if self._closed:
            raise LostError(f"The connection to {far.host} was given up.")
        self._fars.append(far)

    def abandon(self) -> None:
        """Give all connections up: whoever waits for one is told. There will be no others."""
        self._closed = True
        for far in list(self._fars):
            far.link.abandon()

    def close(self) -> None:
        """End what is left of them; where a thread may still wait for an answer, abandon first."""
        self._closed = True
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


def _connect(site: Site, crew: _Crew) -> _Place:
    far = FarEnd(site.link)
    crew.add(far)
    site.link.open()
    return _Place(site, far, far.hello(site.environment))


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


def _interpreters(places: Sequence[_Place], plan: Plan, crew: _Crew) -> list[tuple[str, str]]:
    """Return the Python of each place and a remark on it, made once on each machine."""
    first = {place.key: place for place in reversed(places)}
    found = dict(
        zip(
            first,
            crew.at_once(lambda place: _interpreter(place, plan), first.values()),
            strict=True,
        )
    )
    return [found[place.key] for place in places]


def _interpreter(place: _Place, plan: Plan) -> tuple[str, str]:
    python = place.site.python(place.machine)
    if python is not None and place.site.may_build:
        code, _ = place.far.execute([python, "-P", "-c", _IS_THERE], timeout_s=_ASK_S)
        python = python if code == 0 else None
    return (python, python) if python is not None else _built(place, make_shipment(plan))


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


def _check_alike(places: Sequence[_Place], there: Sequence[Contents], plan: Plan) -> None:
    """Refuse workers of one run with different versions.

    Raises:
        LaunchError: Names the machines, the packages and versions.
    """
    for place, one in zip(places, there, strict=True):
        unlike = differences(one, there[0], plan.framework)
        if unlike:
            told = ", ".join(f"{name} {a} and {b}" for name, (a, b) in unlike.items())
            raise LaunchError(
                f"{place.site.host} and {places[0].site.host} differ: {told}. The workers of a run "
                "need the same versions. Install them, or let the environments be built."
            )


def _differing(there: Arrived, plan: Plan) -> list[str]:
    """Return what differs from the environment here, as a remark."""
    unlike = differences(there.contents, contents(), plan.framework)
    told = ", ".join(f"{name} {seen} (here {own})" for name, (seen, own) in unlike.items())
    return [f"differs: {told}"] if told else []


# --- files ---------------------------------------------------------------------------------------


def _send(place: _Place, mirror: Mirror, python: str, plan: Plan) -> Arrived:
    """Send the run directory; have the data found there.

    Raises:
        LaunchError: The environment there is not one for this plan, or the data cannot be had.
    """
    place.far.open(mirror.run.path.name)
    mirror.send(mirror.run.plan.read_bytes())
    cpus = place.far.cores(plan.cores)
    told = _arrived(place, python, plan, cpus)
    if told.send:
        decoded = _decoded.named_in(plan.data_files)
        assert decoded is not None  # that is what is asked for
        _log.info("sending %s to %s", decoded.path, place.site.host)
        _send_own_data(place.far, decoded.path, told.send)
        told = _arrived(place, python, plan, cpus)
    if told.error or told.send:
        raise LaunchError(f"On {place.site.host}: {told.error or f'no {told.send}'}")
    return told


def _send_own_data(far: FarEnd, path: Path, name: str) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LaunchError(
            f"The decoded data {path} cannot be read: {error.strerror}. Make the plan again."
        ) from error
    far.put(name, content, into_cache=True)


def _arrived(place: _Place, python: str, plan: Plan, cpus: tuple[int, ...] | None) -> Arrived:
    words = [python, "-P", "-m", "timetrial.launch.remote.arrival", "{run}"]
    words += ["--cpus", ",".join(map(str, cpus))] if cpus else []
    code, said = place.far.execute(words, timeout_s=_DATA_S)
    told = None
    with contextlib.suppress(*MALFORMED, IndexError):
        if code == 0:
            told = msgspec.json.decode(said.splitlines()[-1], type=Arrived)
    if told is None:
        raise LaunchError(
            f"{python} on {place.site.host} has no timetrial like this one: "
            f"{said[-_SAID:].strip()} Install the same there, or let one be built."
        )
    there, here = told.contents, contents()
    if there.source_sha256 != here.source_sha256:
        raise LaunchError(
            f"{python} on {place.site.host} has another timetrial ({there.timetrial}) than this "
            f"one ({here.timetrial}): their files differ. Install the same there, or let one be "
            "built."
        )
    unlike = differences(there, here, plan.framework)
    absent = [f"{name}=={own}" for name, (seen, own) in unlike.items() if seen == "none"]
    if absent:
        raise LaunchError(
            f"{python} on {place.site.host} lacks what this run needs. Install there: "
            f"pip install {' '.join(absent)}"
        )
    return told
