"""The tables of tabular: methods by quality and time, their phases, and document 004's claim."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from timetrial import findings, references, units
from timetrial.findings import Group
from timetrial.rows import Row, Table, TableColumn, TableLine
from timetrial.stats import clocks
from timetrial.suites.lines import machine_of, measured_line, published_lines, software_of
from timetrial.suites.tabular import FORMS, KINDS

PUBLISHED: Final = ("benchm_ml.toml", "gbm_perf.toml")
QUALITY: Final = {"auc": "final_test_auc", "accuracy": "final_test_accuracy"}
NETS: Final = ("mlp", "net")
TREES: Final = ("forest", "boosting")
DOCUMENTS_ORDER: Final = ("boosting", "forest", "mlp", "linear")  # benchm-ml's, with its network
PHASES: Final = {  # segment -> heading and what it holds
    "data": ("Read", "from the file to arrays, cut into splits"),
    "encode": ("Encode", "one-hot, standardised, scaled: by one code for all libraries"),
    "bin": ("Bin", "the library's own form: DMatrix, Dataset, Pool; scikit-learn bins in Train"),
    "train": ("Train", "rounds, trees, epochs or the whole fit"),
    "eval": ("Predict", "all evaluations: validation at each, test at the end"),
}
_METHOD: Final = (
    TableColumn(name="method", heading="Method", text=True),
    TableColumn(name="library", heading="Library", text=True),
)
COLUMNS: Final = (
    *_METHOD,
    TableColumn(name="rows", heading="Rows", about="trained on", text=True),
    TableColumn(
        name="quality",
        heading="Quality",
        about="on test, after all rounds or epochs: AUC; of the digits accuracy",
    ),
    TableColumn(name="train", heading="Train", about="clock train-only, whole run"),
    TableColumn(
        name="target",
        heading="To target",
        about="clock mlperf, to the second of the task's targets on validation",
    ),
    TableColumn(name="memory", heading="Memory", about="peak of all processes of the run"),
)
PHASE_COLUMNS: Final = (
    *_METHOD,
    *(TableColumn(name=n, heading=heading, about=about) for n, (heading, about) in PHASES.items()),
)
CLAIM_COLUMNS: Final = (
    TableColumn(name="against", heading="Against", text=True),
    TableColumn(name="net", heading="Net", text=True),
    TableColumn(
        name="difference",
        heading="Ahead by",
        about="quality on test, the other minus the net, in points of percentage: the best library "
        "of each; Welch's 95 % interval",
    ),
    TableColumn(name="answer", heading="The claim", text=True),
)
CLAIM: Final = "deep learning gives lower accuracy than forests or boosting here (document 004)"


class _Kin(NamedTuple):
    """The systems that learned one table in one form with one size."""

    table: str  # "flights-delay", "flights-delay-10k"
    dataset: str
    groups: tuple[Group, ...]

    @property
    def title(self) -> str:
        """Name the table and its form."""
        form = FORMS.get(self.dataset)
        return f"{self.table}, {form} time of departure" if form else self.table


def tables(groups: Sequence[Group]) -> list[Table]:
    """Return for each table, form and size: quality and time, phases, and the claim."""
    kin = list(_kin(groups))
    made = [_quality(one, first=one is kin[0]) for one in kin]
    made += [_phases(one) for one in kin]
    lines = [line for one in kin for line in _claims(one)]
    if lines:
        made.append(
            Table(
                suite="tabular",
                title=f"The claim: {CLAIM}",
                columns=CLAIM_COLUMNS,
                lines=lines,
                notes=[],
            )
        )
    return made


def kind_of(task: str) -> str | None:
    """Return which kind of model a task of this suite has, None for one of another."""
    return next((kind for kind in KINDS if kind in task.split("-")), None)


def _kin(groups: Sequence[Group]) -> list[_Kin]:
    found: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        kind = kind_of(group.system.task)
        if kind is not None:
            table = group.system.task.replace(f"-{kind}", "", 1)
            found.setdefault((table, group.system.dataset), []).append(group)
    return [
        _Kin(table, dataset, tuple(sorted(some, key=lambda g: KINDS.index(_kind(g)))))
        for (table, dataset), some in found.items()
    ]


def _kind(group: Group) -> str:
    kind = kind_of(group.system.task)
    assert kind is not None  # _kin kept no others
    return kind


def _quality(kin: _Kin, *, first: bool) -> Table:
    lines = [_measured(group) for group in kin.groups]
    published = first and kin.table.startswith("flights-delay")
    best = _best(kin)
    notes = [_order(best), *_documents_order(best), *_chosen(kin)]
    answer = f"{kin.title}: {notes[0][0].lower()}{notes[0][1:]}" if best else ""
    if published:
        tasks = [f"flights-delay-{kind}" for kind in KINDS]
        lines += published_lines(tasks, _published, general=_flaws())
        notes += [f"published: {flaw}" for flaw in _flaws()]
    return Table(
        suite="tabular",
        title=kin.title,
        columns=COLUMNS,
        lines=lines,
        notes=notes,
        answer=" ".join([answer, *_documents_order(best)]).strip(),
    )


def _flaws() -> list[str]:
    return list(dict.fromkeys(f for name in PUBLISHED for f in references.flaws_of(name)))


def _measured(group: Group) -> TableLine:
    targets = findings.targets_of(group)
    return measured_line(
        group,
        {
            "method": _kind(group),
            "library": f"{software_of(group)}, {machine_of(group)}",
            "rows": f"{group.task.dataset.train_count:,}",
            "quality": _quality_row(group),
            "train": findings.run_time_row(group, "train-only"),
            "target": findings.time_row(group, targets[min(1, len(targets) - 1)], clocks.HEADLINE),
            "memory": findings.per_run_row_of(group, "peak_memory"),
        },
    )


def _quality_row(group: Group) -> Row | None:
    return findings.per_run_row_of(group, QUALITY[group.task.targets[0].metric])


def _phases(kin: _Kin) -> Table:
    lines = [
        measured_line(
            group,
            {
                "method": _kind(group),
                "library": software_of(group),
                **{name: findings.segment_row(group, name) for name in PHASES},
            },
        )
        for group in kin.groups
    ]
    return Table(
        suite="tabular",
        title=f"Phases: {kin.title}",
        columns=PHASE_COLUMNS,
        lines=lines,
        notes=["Seconds of whole runs; a phase that a library does not have is 0."],
    )


def _order(best: Mapping[str, Row]) -> str:
    """Say the order of the kinds by the best library of each, and which neighbours overlap."""
    ranked = sorted(best, key=lambda kind: best[kind].value or 0.0, reverse=True)
    said = " > ".join(f"{kind} {_said(best[kind])}" for kind in ranked)
    close = [
        f"{better} and {worse}"
        for better, worse in itertools.pairwise(ranked)
        if not _apart(best[better], best[worse])
    ]
    if not close:
        return f"Order on test, the best library of each: {said}; no two intervals overlap."
    return (
        f"Order on test, the best library of each: {said}; not told apart by their intervals: "
        f"{'; '.join(close)}."
    )


def _documents_order(best: Mapping[str, Row]) -> list[str]:
    """Say whether the order that document 004 found, with its own network, is found here."""
    rows = [best[kind] for kind in DOCUMENTS_ORDER if kind in best]
    if len(rows) < len(DOCUMENTS_ORDER):
        return []
    pairs = list(itertools.pairwise(rows))
    said = " > ".join(DOCUMENTS_ORDER)
    if all(_apart(better, worse) for better, worse in pairs):
        return [f"Document 004's order, {said}, holds here: no two of these intervals overlap."]
    if any(_apart(worse, better) for better, worse in pairs):
        return [f"Document 004's order, {said}, does not hold here."]
    return [f"Document 004's order, {said}, is not decided here: neighbours overlap."]


def _chosen(kin: _Kin) -> list[str]:
    """Say where the best library of a kind was chosen by the runs that its figure is of."""
    kinds = [_kind(group) for group in kin.groups]
    several = [kind for kind in KINDS if kinds.count(kind) > 1]
    if not several:
        return []
    return [
        f"The best library of {' and of '.join(several)} is chosen by the same runs: what it is "
        "ahead by is a little too good."
    ]


def _best(kin: _Kin) -> dict[str, Row]:
    """Return the row of the best library of each kind, of those that have a value."""
    best: dict[str, Row] = {}
    for group in kin.groups:
        row, kind = _quality_row(group), _kind(group)
        if row is None or row.value is None:
            continue
        if kind not in best or row.value > (best[kind].value or 0.0):
            best[kind] = row
    return best


def _said(row: Row) -> str:
    assert row.value is not None  # _best kept no others
    return units.quantity(row.value, row.unit)


def _apart(better: Row, worse: Row) -> bool:
    return better.low is not None and worse.high is not None and better.low > worse.high


def _claims(kin: _Kin) -> list[TableLine]:
    groups = {kind: _best_group(kin, kind) for kind in KINDS}
    lines = []
    for tree, net in itertools.product(TREES, NETS):
        ahead, behind = groups[tree], groups[net]
        if ahead is None or behind is None:
            continue
        row = findings.difference_row(ahead, behind, QUALITY[ahead.task.targets[0].metric])
        if row is None:
            continue
        line = measured_line(
            ahead,
            {
                "against": f"{tree} ({ahead.system.framework})",
                "net": f"{net} ({behind.system.framework})",
                "difference": row,
                "answer": _answer(row),
            },
        )
        lines.append(
            msgspec.structs.replace(
                line,
                group=f"{line.group}: {kin.title}",
                evidence=[*line.evidence, *(run.run.path.name for run in behind.runs)],
            )
        )
    return lines


def _best_group(kin: _Kin, kind: str) -> Group | None:
    had = [
        (row.value, place)
        for place, group in enumerate(kin.groups)
        if _kind(group) == kind and (row := _quality_row(group)) is not None
        if row.value is not None
    ]
    return kin.groups[max(had)[1]] if had else None


def _answer(row: Row) -> str:
    if row.low is None or row.high is None:
        return "not decided: too few runs"
    if row.low > 0:
        return "holds"
    if row.high < 0:
        return "does not hold: the net is ahead"
    return "not decided: the interval holds 0"


def _published(rows: Mapping[str, Row]) -> Mapping[str, Row | str | None]:
    first = next(iter(rows.values()))
    return {
        "method": kind_of(first.task) or first.task,
        "library": f"{first.framework}, {first.system}",
        "rows": first.facts.get("rows"),
        "quality": rows.get("final_test_auc"),
        "train": rows.get("run_time"),
        "memory": rows.get("peak_memory"),
    }
