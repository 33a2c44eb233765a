"""timetrial list"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from timetrial.cli import options
from timetrial.errors import UnknownNameError

if TYPE_CHECKING:
    from timetrial.rows import Row, RunLine

KINDS: Final = (
    "algorithms",
    "clocks",
    "datasets",
    "exporters",
    "frameworks",
    "launchers",
    "prices",
    "references",
    "runs",
    "spaces",
    "suites",
    "tasks",
)


def list_(
    kind: Annotated[
        str,
        typer.Argument(metavar="KIND", help=f"{', '.join(KINDS[:-1])} or {KINDS[-1]}."),
    ] = "tasks",
    store: Annotated[Path | None, typer.Option(metavar="DIR", help="The store, for runs.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List tasks, suites, frameworks, runs and the like."""
    if kind not in KINDS:
        raise UnknownNameError("kind of thing to list", kind, KINDS)
    if json:
        options.echo_json(_RECORDS.get(kind, _LISTERS[kind])(store))
        return
    rows = _LISTERS[kind](store)
    if not rows:
        typer.echo(f"no {kind}")
        return
    _print_table(rows)
    if kind == "frameworks":
        typer.echo()
        _print_table(_retired())
    if kind == "prices":
        from timetrial.prices import HISTORY_NOTE

        typer.echo()
        options.echo_wrapped(HISTORY_NOTE)


def _print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print a column per key; names and numbers stay whole, the longer columns are wrapped."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(rows[0]):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        cells = ("" if value is None else str(value) for value in row.values())
        table.add_row(*map(Text, cells))  # Text: brackets are no markup
    Console().print(table)


def _tasks(_store: Path | None) -> list[dict[str, object]]:
    from timetrial.examine.request import find as find_examination
    from timetrial.exchange.request import find
    from timetrial.plan import EXAMINATIONS, MEASUREMENTS, TASKS, find_task

    rows: list[dict[str, object]] = []
    for name in TASKS.names():
        task = find_task(name)
        rows.append(
            {
                "task": name,
                "what": task.title,
                "target": str(task.targets[-1]),
                "frameworks": ", ".join(task.implementations),
            }
        )
    for name in MEASUREMENTS.names():
        measured = find(name)
        assert measured is not None  # the registry names it
        rows.append(
            {
                "task": name,
                "what": measured.title,
                "target": None,
                "frameworks": ", ".join(measured.implementations),
            }
        )
    for name in EXAMINATIONS.names():
        examined = find_examination(name)
        assert examined is not None  # the registry names it
        rows.append(
            {
                "task": name,
                "what": examined.title,
                "target": None,
                "frameworks": ", ".join(examined.implementations),
            }
        )
    return rows


def _suites(_store: Path | None) -> list[dict[str, object]]:
    from timetrial.suites import REGISTRY, find_suite, runs_of

    return [
        {
            "suite": name,
            "question": find_suite(name).question,
            "runs": runs_of(find_suite(name)),
        }
        for name in REGISTRY.names()
    ]


def _spaces(_store: Path | None) -> list[dict[str, object]]:
    from timetrial.tune.space import read_space, shipped

    return [
        {"space": name, "what": read_space(name).title, "source": read_space(name).source}
        for name in shipped()
    ]


def _space_records(_store: Path | None) -> list[dict[str, object]]:
    import msgspec

    from timetrial.tune.space import read_space, shipped

    return [{"space": name, **msgspec.structs.asdict(read_space(name))} for name in shipped()]


def _frameworks(_store: Path | None) -> list[dict[str, object]]:
    return [
        {
            "framework": line["framework"],
            "version, or how to install": line["version"] or line["install_with"],
            "devices": ", ".join(line["devices"]),
        }
        for line in _installable()
    ]


def _retired() -> list[dict[str, object]]:
    from timetrial import references

    return [
        {
            "retired": tool.name,
            "last version": f"{tool.last_version} ({tool.last_date})",
            "why it cannot run": tool.why,
        }
        for tool in references.retired_frameworks()
    ]


def _framework_records(_store: Path | None) -> dict[str, object]:
    from timetrial import references

    return {"frameworks": _installable(), "retired": references.retired_frameworks()}


def _installable() -> list[dict[str, Any]]:
    from timetrial import frameworks

    rows: list[dict[str, Any]] = []
    for name in frameworks.REGISTRY.names():
        here = frameworks.installed(name)
        required = frameworks.REQUIREMENTS.get(name)
        rows.append(
            {
                "framework": name,
                "installed": here,
                "version": frameworks.version(name) if here else "",
                "devices": list(required.devices) if required else [],
                "install_with": frameworks.install_line(name),
            }
        )
    return rows


def _algorithms(_store: Path | None) -> list[dict[str, object]]:
    return [
        {key: facts[key] for key in ("algorithm", "what", "division")}
        for facts in _algorithm_records(None)
    ]


def _algorithm_records(_store: Path | None) -> list[dict[str, object]]:
    from timetrial.algorithms import REGISTRY, page

    return [page.facts(name) for name in REGISTRY.names()]


def _launchers(_store: Path | None) -> list[dict[str, object]]:
    from timetrial.launch import REGISTRY

    return [{"launcher": name} for name in REGISTRY.names()]


def _exporters(_store: Path | None) -> list[dict[str, object]]:
    from timetrial.interop import REGISTRY

    return [{"exporter": name} for name in REGISTRY.names()]


def _clocks(_store: Path | None) -> list[dict[str, object]]:
    from timetrial.stats.clocks import CLOCKS

    return [
        {"clock": clock.name, "meaning": clock.meaning, "source": clock.source}
        for clock in CLOCKS.values()
    ]


def _datasets(_store: Path | None) -> list[dict[str, object]]:
    from timetrial import datasets

    rows: list[dict[str, object]] = []
    for name in datasets.REGISTRY.names():
        info = datasets.get(name)
        rows.append(
            {
                "dataset": name,
                "what": info.title,
                "examples": info.examples + (info.test_examples or 0),
                "licence": info.licence,
            }
        )
    return rows


def _prices(_store: Path | None) -> list[dict[str, object]]:
    from timetrial import prices, units

    return [
        {
            "historic price of": prices.words_of(price),
            "per hour": units.stated(price.per_hour, price.currency),
            "on": prices.date_of(price).isoformat(),
            "source": price.source,
        }
        for price in prices.history().prices
    ]


def _price_records(_store: Path | None) -> object:
    from timetrial import prices

    return prices.history().prices


def _references(_store: Path | None) -> list[dict[str, object]]:
    from timetrial import references
    from timetrial.report import words

    return [
        {
            "task": row.task,
            "measure": words.measure_label(row.measure),
            "value": words.value_text(row),
            "system and source": f"{_published_system(row)} ({row.source}, {row.date})",
        }
        for row in references.published()
    ]


def _published_system(row: Row) -> str:
    """Return framework and system; a machine's own figures have no framework."""
    return row.system if row.framework == "none" else f"{row.framework}, {row.system}"


def _reference_rows(_store: Path | None) -> Sequence[Row]:
    from timetrial import references

    return references.published()


def _runs(store: Path | None) -> list[dict[str, object]]:
    from timetrial import units
    from timetrial.report import words

    rows: list[dict[str, object]] = []
    for line in _run_lines(store):
        reached = line.time_to_target_s
        rows.append(
            {
                "run": line.run,
                "status": line.status.replace("_", " "),
                "quality": words.quality_number(line),
                "to target": units.duration(reached) if reached is not None else None,
            }
        )
    return rows


def _run_lines(store: Path | None) -> Sequence[RunLine]:
    from timetrial import api, findings

    place = api.find_store(store)
    if store is None and not place.exists():
        return []
    return [findings.line_of(record) for record in api.load(place)]


_RECORDS: Final[Mapping[str, Callable[[Path | None], object]]] = {
    # what `--json` gives, where the table for people shows less
    "algorithms": _algorithm_records,
    "frameworks": _framework_records,
    "prices": _price_records,
    "references": _reference_rows,
    "runs": _run_lines,
    "spaces": _space_records,
}
_LISTERS: Final = {
    "algorithms": _algorithms,
    "clocks": _clocks,
    "datasets": _datasets,
    "exporters": _exporters,
    "frameworks": _frameworks,
    "launchers": _launchers,
    "prices": _prices,
    "references": _references,
    "runs": _runs,
    "spaces": _spaces,
    "suites": _suites,
    "tasks": _tasks,
}
