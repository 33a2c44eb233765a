"""Rows: what every table, page, CSV file and `--json` output is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from timetrial.spec import Record

Origin: TypeAlias = Literal["measured", "published", "predicted"]


class Row(Record, frozen=True, kw_only=True):
    """One estimate of one measure, for one task on one system.

    `value`, `low`, `high` are in `unit` (SI: "s", "byte", "fraction", "1"). A value that cannot be
    had is None, never 0; `low` and `high` are the ends of a 95 % interval, None where n is too
    small to give one. A lower bound (every run censored): value None, `low` set, `high` None.
    `cores` are those of each of the `workers`.
    """

    task: str
    target: str | None
    split: str | None
    clock: str | None
    dataset: str
    division: str
    framework: str
    device: str
    cores: int | None
    precision: str
    workers: int
    launcher: str
    network: str | None
    system: str
    measure: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: str
    origin: Origin
    source: str
    date: str
    status_counts: Mapping[str, int]
    notes: Sequence[str]
    evidence: Sequence[str]
    facts: Mapping[str, str] = msgspec.field(default_factory=dict)  # what only some tables show


class Curve(Record, frozen=True, kw_only=True):
    """Quality against time for one task on one system, averaged over its runs, with a 95 % band.

    The four sequences have one length. `low` and `high` are None where fewer than two runs reach.
    """

    task: str
    framework: str
    system: str
    metric: str
    split: str
    clock: str
    threshold: float | None  # of the target, drawn as a line
    n: int
    times_s: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float | None]
    high: Sequence[float | None]


class StepCurve(Record, frozen=True, kw_only=True):
    """Quality against training steps for one task on one system, with a 95 % band.

    Like `Curve`, but on the axis that no machine's speed moves.
    """

    task: str
    framework: str
    system: str
    metric: str
    split: str
    threshold: float | None
    n: int
    steps: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float | None]
    high: Sequence[float | None]


class SegmentBar(Record, frozen=True, kw_only=True):
    """Where the wall time of a run went: mean seconds per segment over n runs of one system."""

    task: str
    framework: str
    system: str
    n: int
    seconds: Mapping[str, float]  # segment -> s, in the order in which they first occur


class Verdict(Record, frozen=True, kw_only=True):
    """The answer of one comparison: how many times as long A takes as B."""

    task: str
    measure: str
    target: str | None = None  # of time_to_target, as in `Row`
    clock: str | None = None
    a: str
    b: str
    n_a: int
    n_b: int
    ratio: float | None  # A / B; above 1: B is faster
    low: float | None
    high: float | None
    verdict: Literal["A faster", "B faster", "not distinguishable"]
    more_runs: int | None  # further runs per side that would tell with 80 % power, where known
    notes: Sequence[str]


class Confusion(Record, frozen=True, kw_only=True):
    """How often each class was taken for which, summed over n runs of one system."""

    task: str
    framework: str
    system: str
    split: str
    n: int
    classes: Sequence[str]  # names, by label
    counts: Sequence[Sequence[int]]  # true class × class it was taken for


class RunLine(Record, frozen=True, kw_only=True):
    """One run, for the list of runs."""

    run: str
    task: str
    framework: str
    system: str
    seed: int
    status: str
    wall_s: float | None
    time_to_target_s: float | None
    quality: float | None  # the task's metric at the last evaluation
    quality_label: str  # such as "accuracy, test"
    directory: str


class MachineFacts(Record, frozen=True, kw_only=True):
    """Facts of one machine for people: label -> text, in reading order."""

    system: str
    facts: Mapping[str, str]


class TableColumn(Record, frozen=True, kw_only=True):
    """A column of a suite's table."""

    name: str  # key of the cells
    heading: str  # short: a terminal has 80 columns
    about: str = ""  # what it holds, where the heading does not say it
    text: bool = False  # names, not quantities


class TableLine(Record, frozen=True, kw_only=True):
    """One line of a suite's table: a system and its estimates, measured or published.

    `cells` holds, by name of column, an estimate or a text; a column that is not in it was neither
    measured nor published.
    """

    group: str  # lines of one group stand together under it
    origin: Origin | None  # None: nothing was run, the cells say why
    date: str
    source: str
    n: int | None
    cells: Mapping[str, Row | str]
    notes: Sequence[str] = ()  # what is not comparable in this line
    evidence: Sequence[str] = ()


class StepChart(Record, frozen=True, kw_only=True):
    """Several tasks or systems in one picture of quality against steps."""

    title: str
    labels: Sequence[str]  # of the curves
    curves: Sequence[StepCurve]


class Exhibit(Record, frozen=True, kw_only=True):
    """A file that a step of an examination left; `content` is that of a picture to be shown.

    The bytes are a PNG file's; of other files, and of very large pictures, there are none.
    """

    title: str
    about: str  # what is to be seen in it, for people who cannot see it
    path: str  # where the file lies
    content: bytes = b""


class Table(Record, frozen=True, kw_only=True):
    """The table of a document, with this machine's lines beside the published ones."""

    suite: str
    title: str
    columns: Sequence[TableColumn]
    lines: Sequence[TableLine]
    notes: Sequence[str]  # what is not comparable in all of it, and why
    charts: Sequence[StepChart] = ()
    pictures: Sequence[Exhibit] = ()
    answer: str = ""  # a sentence that the report begins with


class ScalingLine(Record, frozen=True, kw_only=True):
    """What so many workers came to: estimates by measure, as in `TableLine`.

    `parts_s` tiles the mean split step: seconds of computing, exchange, waiting, rest.
    """

    workers: int
    n: int
    ideal: float  # speed-up if nothing were lost: over the fewest workers of the picture
    cells: Mapping[str, Row]
    parts_s: Mapping[str, float]


class ExchangePoint(Record, frozen=True, kw_only=True):
    """How long the sum of arrays of one size took: all repetitions of all runs together.

    Where it was left out in every run, there are no seconds and `left_out` says why.
    """

    bytes: int  # of the array in one worker
    median_s: float | None
    p5_s: float | None
    p95_s: float | None
    n: int  # repetitions
    left_out: str | None = None


class ExchangeCurve(Record, frozen=True, kw_only=True):
    """Time of an all-reduce against the size of the array, and the line fitted to it.

    The line is latency_s + s_per_byte * bytes, fitted to the medians of `points`.
    """

    task: str
    framework: str
    system: str
    dtype: str
    workers: int
    n: int  # runs
    points: Sequence[ExchangePoint]
    latency_s: float | None  # None: fewer than two sizes were measured
    s_per_byte: float | None
    error: float | None  # median of |line / median - 1| over the sizes


class InferenceLine(Record, frozen=True, kw_only=True):
    """What predicting so many examples at a time came to: rows of three percentiles and the rate.

    Where it was left out in every run there are no rows, and `left_out` says why.
    """

    batch: int
    cells: Mapping[str, Row]  # by measure
    left_out: str | None = None


class Inference(Record, frozen=True, kw_only=True):
    """How long the trained model of one system takes to predict, from single examples on.

    `dawnbench` is the row of the latency by DAWNBench's rule; its notes say why it has no value
    and which runs are in no figure.
    """

    task: str
    framework: str
    system: str
    split: str
    n: int  # runs
    lines: Sequence[InferenceLine]
    dawnbench: Row


class Scaling(Record, frozen=True, kw_only=True):
    """Systems that differ in the number of workers alone, the fewest first.

    strong: the same work is divided among them. weak: each worker has the work that one has.
    `answers` are rows of break_even_workers, cheapest_workers and least_bandwidth.
    """

    task: str
    framework: str
    system: str  # what is common to all lines
    kind: Literal["strong", "weak"]
    target: str
    after: Sequence[str]  # cells of quality after a time
    lines: Sequence[ScalingLine]
    answers: Sequence[Row]
    notes: Sequence[str]


class Limit(Record, frozen=True, kw_only=True):
    """What a training step of one system is made of, and how close it came to the ceilings.

    `parts` are shares of the step: data, communication, Python, and the rest as arithmetic or
    memory, whichever alone would take longer at its ceiling.
    """

    task: str
    framework: str
    system: str
    n: int
    step_s: float
    parts: Mapping[str, float]
    bottleneck: str
    share_of_matmul: float  # of the ceiling `matmul`
    share_of_triad: float
    matmul: str  # such as "matmul_fp32"
    measured: str  # date of the ceilings


class FrontPoint(Record, frozen=True, kw_only=True):
    """One system by predicted time and cost, with 95 % intervals of the next run."""

    system: str
    time_s: float
    time_low_s: float | None
    time_high_s: float | None
    cost: float
    cost_low: float | None
    cost_high: float | None
    on_front: bool
    chance: float | None  # to keep both limits


class Front(Record, frozen=True, kw_only=True):
    """Systems by time and cost: on the front is what none beats in both."""

    title: str
    currency: str
    deadline_s: float | None
    cost_limit: float | None
    points: Sequence[FrontPoint]


class SearchAxis(Record, frozen=True, kw_only=True):
    """One rule that a search chose: a range, or choices by their names."""

    name: str
    scale: Literal["linear", "log", "log-one-minus"]  # the last: per decade of 1 - value
    low: float
    high: float
    choices: Sequence[str] = ()  # where there are any, a value is a place among them
    importance: float | None = None  # share of what varies that it decides


class SearchPoint(Record, frozen=True, kw_only=True):
    """One trial of a search, by its own run."""

    trial: int
    at: Sequence[float]  # its values, in the order of the axes
    value: float | None  # None: it missed the target, was given up or failed
    part: Literal["winner", "leader", "reference", "trial"]
    words: str  # what became of it


class Search(Record, frozen=True, kw_only=True):
    """All trials of a search, for the picture of value by rule."""

    title: str
    task: str
    measure: str
    unit: str
    axes: Sequence[SearchAxis]
    points: Sequence[SearchPoint]


class Findings(Record, frozen=True, kw_only=True):
    """All that one report shows."""

    title: str
    command: str  # the exact command to repeat
    made_utc: str
    version: str
    rows: Sequence[Row]
    curves: Sequence[Curve]
    bars: Sequence[SegmentBar]
    verdicts: Sequence[Verdict]
    machines: Sequence[MachineFacts]
    runs: Sequence[RunLine]
    notes: Sequence[str]
    step_curves: Sequence[StepCurve] = ()
    confusions: Sequence[Confusion] = ()
    tables: Sequence[Table] = ()  # of suites and examinations
    examined: Sequence[str] = ()  # examinations: their rows stand in tables, not in sections
    scalings: Sequence[Scaling] = ()
    exchanges: Sequence[ExchangeCurve] = ()
    inferences: Sequence[Inference] = ()
    fronts: Sequence[Front] = ()
    limits: Sequence[Limit] = ()
    searches: Sequence[Search] = ()
