"""What was seen of a tool -> a value and its reason for each cell: the rules, on one screen each.

monitoring  yes: another process read at least half of the steps while the run went on, all values
            right, from the tool's server or by a function of the tool that reads its store.
            limited: only by a copy that the training program writes itself, or by parsing files.
organizing  after the sweep: list the runs, filter by a parameter, sort by a metric, fetch an
            artefact, compare two. yes: all five, and a page of the tool answers. limited: all five
            without a page, or some of the five. no: none.
tuning      yes: the tool proposes points, and the geometric mean over seeds of (its best above the
            least value) / (random search's) is below 1 with its whole 95 % interval.
            limited: it proposes, and that is not so.
licence     yes: a licence of the Open Source Initiative's list, and where the tool has a server,
            it is among the tool's packages and was hosted here, or there is none.
            limited: only the part that runs on the user's machine.

unknown stands for what could not be found out here, and says why; it is never a no.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.message import Message
from typing import Final, Literal, TypeAlias, TypeVar

import numpy as np

from timetrial.examinations.licences import licence_in
from timetrial.examinations.tools.records import (
    CHECKS,
    COLUMNS,
    Absent,
    Attempted,
    Checked,
    Column,
    Failed,
    Installed,
    Licensed,
    Observation,
    Page,
    Raced,
    Refused,
    Sealed,
    Watched,
)
from timetrial.examinations.tools.registry import Tool
from timetrial.spec import Record
from timetrial.stats import intervals
from timetrial.stats.intervals import Estimate
from timetrial.units import bytes_, duration, significant

T = TypeVar("T")
Value: TypeAlias = Literal["yes", "limited", "no", "unknown"]
LEAST_ABOVE: Final = 1e-9
"""A search that came nearer than this to the least value counts as so near: ratios need it."""
_LIVE_SHARE: Final = 0.5

_DOES: Final[Mapping[str, str]] = {
    "monitoring": "logs values by step",
    "organizing": "lists runs",
    "tuning": "proposes points",
    "filter": "filters runs",
    "sort": "sorts runs",
    "artefact": "keeps a run's files",
}


class Cell(Record, frozen=True, kw_only=True):
    """One judgement."""

    value: Value
    short: str  # a few words behind the value, such as "no page"
    reason: str
    without_server: bool = False  # its server is elsewhere: what it gives with it was not seen


def judge(tool: Tool, seen: Sequence[Observation]) -> dict[Column, Cell]:
    """Return the four cells of a tool; `seen` is everything that was seen of it."""
    refused = next(_of(Refused, seen), None)
    if refused is not None:
        reason = f"cannot be installed: {refused.line}"
        return {
            column: Cell(value="unknown", short="not installed", reason=reason)
            for column in COLUMNS
        }
    failed = {item.column: item.line for item in _of(Failed, seen)}
    rules = {
        "monitoring": _monitoring,
        "organizing": _organizing,
        "tuning": _tuning,
        "licence": _licence,
    }
    cells: dict[Column, Cell] = {}
    for column in COLUMNS:
        if column in failed:
            line = f"its probe failed: {failed[column]}"
            cells[column] = Cell(value="unknown", short="probe failed", reason=line)
        else:
            cells[column] = rules[column](tool, seen)
    return cells


# --- the columns ---------------------------------------------------------------------------------


def _monitoring(tool: Tool, seen: Sequence[Observation]) -> Cell:
    absent = next((item for item in _of(Absent, seen) if item.what == "monitoring"), None)
    if absent is not None:
        return _absence(tool, absent)
    watched = next(_of(Watched, seen), None)
    if watched is None:
        return _nothing()
    page = _page(seen, "monitoring")
    live = len(watched.seen)
    said = f"{live} of {watched.steps} steps were read by another process while the run went on"
    if live:
        times = [item.latency_ms for item in watched.seen]
        said += (
            f", {significant(statistics.median(times))} ms after they were logged (median; "
            f"{significant(min(times))} to {significant(max(times))}; a read took "
            f"{significant(watched.read_ms)} ms)"
        )
    said += f"; {watched.how}"
    said += f"; {page or _why_no_page(seen, 'monitoring')}"
    if watched.wrong:
        said = f"{watched.wrong} values differed from those logged; {said}"
        return Cell(value="limited", short="wrong values", reason=said)
    if not live:
        return Cell(value="no", short="only after the run", reason=said)
    if live < _LIVE_SHARE * watched.steps:
        return Cell(value="limited", short="too late", reason=said)
    if watched.means == "snapshot":
        return Cell(value="limited", short="own snapshots", reason=said)
    if watched.means == "raw file":
        apart = tool.server.kind in ("separate", "closed")
        said = f"without its server, which {_elsewhere(tool)}: {said}" if apart else said
        return Cell(value="limited", short="raw file", reason=said, without_server=apart)
    return Cell(value="yes", short="" if page else "no page", reason=said)


def _organizing(tool: Tool, seen: Sequence[Observation]) -> Cell:
    absent = {item.what: item for item in _of(Absent, seen)}
    if "organizing" in absent:
        return _absence(tool, absent["organizing"])
    checks = {item.what: item for item in _of(Checked, seen)}
    if not checks:
        return _nothing()
    lacking: dict[str, str] = {}
    for what in CHECKS:
        if what in checks and not checks[what].passed:
            lacking[what] = f"{checks[what].how}: {checks[what].line}"
        elif what not in checks:
            cell = _absence(tool, absent[what]) if what in absent else _nothing()
            if cell.value == "unknown":
                return cell
            lacking[what] = cell.reason
    had = [what for what in CHECKS if what not in lacking]
    page = _page(seen, "organizing")
    if not had and tool.server.kind in ("separate", "closed"):
        first = next(iter(lacking.values()))
        reason = f"needs its server, which {_elsewhere(tool)}; tried without: {first}"
        return Cell(value="unknown", short="needs its server", reason=reason)
    said = "; ".join(f"{what}: {checks[what].how}" for what in had)
    why = "; ".join(f"no {what} ({line})" for what, line in lacking.items())
    where = page or _why_no_page(seen, "organizing")
    if not had:
        return Cell(value="no", short="", reason=why)
    if lacking:
        short = f"no {', '.join(lacking)}" + ("" if page else ", no page")
        return Cell(value="limited", short=short, reason=f"{why}; {said}; {where}")
    value: Value = "yes" if page else "limited"
    return Cell(value=value, short="" if page else "no page", reason=f"{said}; {where}")


def _tuning(tool: Tool, seen: Sequence[Observation]) -> Cell:
    absent = next((item for item in _of(Absent, seen) if item.what == "tuning"), None)
    raced = next(_of(Raced, seen), None)
    attempted = next((item for item in _of(Attempted, seen) if item.column == "tuning"), None)
    if raced is not None:
        return _race(raced)
    if attempted is not None:
        tried = f"{attempted.what}: {attempted.line}"
        if attempted.worked:
            reason = f"it proposes, and was not raced: {tried}"
            return Cell(value="unknown", short="not raced", reason=reason)
        reason = f"needs its server, which {_elsewhere(tool)}; tried without: {tried}"
        return Cell(value="unknown", short="needs its server", reason=reason)
    return _nothing() if absent is None else _absence(tool, absent)


def _race(raced: Raced) -> Cell:
    ratio = ratio_of(raced)
    assert ratio.value is not None  # there are races
    ends = (
        ""
        if ratio.low is None or ratio.high is None
        else (f" (95 % interval {significant(ratio.low)} to {significant(ratio.high)})")
    )
    said = (
        f"its best point was {significant(ratio.value)} times as far above the least value of "
        f"{raced.function} as random search's{ends}; {raced.budget} evaluations, "
        f"n = {len(raced.races)} seeds; {duration(raced.seconds_per_point)} per point; {raced.how}"
    )
    if ratio.high is not None and ratio.high < 1:
        return Cell(value="yes", short="", reason=said)
    worse = ratio.low is not None and ratio.low > 1
    short = "worse than random" if worse else "not told from random"
    return Cell(value="limited", short=short, reason=said)


def ratio_of(raced: Raced) -> Estimate:
    """Return tool / random search of what the best point lies above the least value.

    The geometric mean over seeds, with Student's interval of the mean of the logarithms: each
    seed's two searches are one pair.
    """
    logs = np.array(
        [
            math.log(max(race.tool, LEAST_ABOVE)) - math.log(max(race.random, LEAST_ABOVE))
            for race in raced.races
        ],
        dtype=np.float64,
    )
    mean = intervals.mean_interval(logs)
    value, low, high = (
        None if number is None else math.exp(number) for number in (mean.value, mean.low, mean.high)
    )
    return Estimate(
        value=value, low=low, high=high, n=mean.n, method="geometric mean of pairs, Student t"
    )


def _licence(tool: Tool, seen: Sequence[Observation]) -> Cell:
    licensed = next(_of(Licensed, seen), None)
    if licensed is None:
        return _nothing()
    names = [licensed.expression, licensed.field, *licensed.classifiers]
    named = ", ".join(name for name in names if name) or "no licence"
    said = f"{licensed.distribution} {licensed.version} says: {named}"
    ours = open_licence(licensed)
    server = tool.server
    if server.kind == "closed":
        said += f"; its server {server.about}" + (f" ({server.source})" if server.source else "")
        return Cell(
            value="limited" if ours else "no",
            short="server closed" if ours else "not open",
            reason=said,
        )
    if not ours:
        return Cell(value="no", short="not open", reason=said)
    if server.kind == "none":
        return Cell(value="yes", short="", reason=f"{said}; no server: {server.about}")
    if server.kind == "separate":
        said += f"; its server is {server.about}, {server.licence} ({server.source}): not hosted"
        return Cell(value="limited", short="server apart", reason=said)
    pages = [page for page in _of(Page, seen) if page.status == 200]
    if not pages:
        return Cell(
            value="limited",
            short="server not seen",
            reason=f"{said}; {server.about} did not answer",
        )
    by = ", ".join(dict.fromkeys(page.served_by for page in pages))
    return Cell(value="yes", short="", reason=f"{said}; hosted here: {server.about} ({by})")


def open_licence(licensed: Licensed) -> bool:
    """Return whether a distribution names a licence of the Open Source Initiative's list."""
    metadata = Message()
    if licensed.expression:
        metadata["License-Expression"] = licensed.expression
    if licensed.field:
        metadata["License"] = licensed.field
    for line in licensed.classifiers:
        metadata["Classifier"] = line
    return licence_in(metadata).is_open is True


# --- what they share -----------------------------------------------------------------------------


def _absence(tool: Tool, absent: Absent) -> Cell:
    """Say no, unless a name was found that nobody has looked at."""
    known = tool.not_it.get(absent.what, {})
    unknown = [name for name in absent.near if _explained(name, known) is None]
    looked = f"none of {absent.names:,} public names in {absent.files} files of its code"
    if unknown:
        shown = ", ".join(unknown[:5])
        return Cell(
            value="unknown",
            short="not looked at",
            reason=f"names that may be it, which nobody has looked at: {shown}",
        )
    reason = f"{looked} {_DOES.get(absent.what, absent.what)}"
    others = list(
        dict.fromkeys(f"{name} {text}" for name in absent.near if (text := _explained(name, known)))
    )
    if others:
        reason += f"; near it: {'; '.join(others[:3])}"
    return Cell(value="no", short="", reason=reason)


def _explained(name: str, known: Mapping[str, str]) -> str | None:
    """Return what a name is instead; None where tools.toml does not say."""
    for pattern, text in known.items():
        if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1])):
            return text
    return None


def _elsewhere(tool: Tool) -> str:
    about = tool.server.about
    return f"is {about}" if tool.server.kind == "separate" else about


def _nothing() -> Cell:
    return Cell(value="unknown", short="nothing seen", reason="its probe told nothing of it")


def _page(seen: Sequence[Observation], column: Column) -> str:
    """Return which page works, in words; empty where none does."""
    page = next((p for p in _of(Page, seen) if p.column == column and _works(p)), None)
    if page is None:
        return ""
    return f"page {page.path} of {page.served_by}{_about(page)}, {bytes_(page.bytes)}"


def _why_no_page(seen: Sequence[Observation], column: Column) -> str:
    page = next((p for p in _of(Page, seen) if p.column == column), None)
    if page is None:
        return "no page"
    lacking = f"status {page.status}, {page.missing} of its {page.scripts} scripts are missing"
    return f"no page that works: {page.path} of {page.served_by} answers{_about(page)} ({lacking})"


def _about(page: Page) -> str:
    return f", {page.about}" if page.about else ""


def _works(page: Page) -> bool:
    html = page.content_type.startswith("text/html") and page.bytes > 0
    return page.status == 200 and html and page.missing == 0


def _of(kind: type[T], seen: Iterable[object]) -> Iterator[T]:
    return (item for item in seen if isinstance(item, kind))


def environment_words(seen: Sequence[Observation]) -> str:
    """Return what the examination stood on: size of the environment, and its network."""
    made = next(_of(Installed, seen), None)
    sealed = next(_of(Sealed, seen), None)
    words = []
    if made is not None:
        words.append(f"{made.how}: {len(made.packages)} packages, {bytes_(made.bytes)}")
    if sealed is not None:
        words.append(sealed.how)
    return "; ".join(words)
