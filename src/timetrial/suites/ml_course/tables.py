"""The tables of ml-course: pipeline, frameworks, hardware, beside what the course says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from timetrial import findings, frameworks, references, units
from timetrial.examinations.course_pipeline import ORDERS, SPLITS, VARIANTS
from timetrial.findings import ExaminationGroup
from timetrial.rows import Row, Table, TableColumn, TableLine
from timetrial.suites.lines import NOT_RUN, published_lines
from timetrial.suites.ml_course import FRAMEWORKS, HARDWARE, PIPELINE

SUITE: Final = "ml-course"
_ROWS: Final = 569
_HERE: Final = "measured on this machine"


def tables(groups: Sequence[ExaminationGroup]) -> list[Table]:
    """Return the document's tables: what was found here, then what it says itself."""
    by_name: dict[str, list[ExaminationGroup]] = {}
    for group in groups:
        by_name.setdefault(group.system.task, []).append(group)
    pipelines = by_name.get(PIPELINE, [])
    made = [_pipeline(pipelines), _orders(pipelines), _splits(pipelines)]
    made += [_frameworks(by_name.get(FRAMEWORKS, [])), _hardware(by_name.get(HARDWARE, []))]
    return made


def _line(
    group: ExaminationGroup,
    heading: str,
    cells: Mapping[str, Row | str | None],
    *,
    n: int | None = None,
) -> TableLine:
    """Return a line of what was found; a cell of None is left out."""
    had = {name: cell for name, cell in cells.items() if cell is not None}
    rows = [cell for cell in had.values() if isinstance(cell, Row)]
    return TableLine(
        group=f"{heading}, light: not all steps" if group.system.light else heading,
        origin="measured",
        date=max(run.plan.created_utc for run in group.runs)[:10],
        source=f"timetrial {group.runs[-1].plan.timetrial}",
        n=n,
        cells=had,
        notes=list(dict.fromkeys(note for row in rows for note in row.notes)),
        evidence=[run.run.path.name for run in group.runs],
    )


# --- the pipeline --------------------------------------------------------------------------------


def _pipeline(groups: Sequence[ExaminationGroup]) -> Table:
    """Return the steps of the pipeline with their seconds, and its two figures."""
    lines = []
    for group in groups:
        rows = findings.row_by_measure(group)
        for step in group.steps[:4]:  # those of the course; the others ask further
            cells: dict[str, Row | str | None] = {
                "step": step.name,
                "what": step.about,
                "time": rows.get(f"time_of_{step.name}"),
            }
            if step.name == "import":
                cells |= {"malignant": rows["malignant"], "benign": rows["benign"]}
            if step.name == "predict":
                cells |= {"train": rows["train_accuracy"], "test": rows["mean_test_accuracy"]}
            lines.append(_line(group, f"{_HERE}, {group.tool}", cells))
    lines += published_lines([PIPELINE], _published_pipeline, general=_flaws("mila_course.toml"))
    return Table(
        suite=SUITE,
        title="breast cancer, step by step",
        columns=[
            TableColumn(name="step", heading="Step", text=True),
            TableColumn(name="what", heading="What it does", text=True),
            TableColumn(name="time", heading="Time"),
            TableColumn(name="malignant", heading="Malignant"),
            TableColumn(name="benign", heading="Benign"),
            TableColumn(name="train", heading="Training accuracy", about="on all 569 rows"),
            TableColumn(
                name="test",
                heading="Test accuracy",
                about="mean of three splits, rows in the document's order; its interval is for "
                "other rows of the kind (Nadeau and Bengio)",
            ),
        ],
        lines=lines,
        notes=[f"published: {flaw}" for flaw in _flaws("mila_course.toml")],
        pictures=[one for group in groups for one in findings.exhibits_of(group)],
        answer=_answer(groups),
    )


def _published_pipeline(rows: Mapping[str, Row]) -> Mapping[str, Row | str | None]:
    return {
        "step": "all",
        "what": next(iter(rows.values())).facts["order"],
        "malignant": rows["malignant"],
        "benign": rows["benign"],
        "train": rows["train_accuracy"],
        "test": rows["mean_test_accuracy"],
    }


def _answer(groups: Sequence[ExaminationGroup]) -> str:
    """Return both figures as the document prints them, with the digits behind them."""
    for group in groups:
        rows = findings.row_by_measure(group)
        right, test = rows["train_correct"].value, rows["mean_test_accuracy"].value
        if right is None or test is None:
            continue
        train = right / _ROWS
        printed = {row.measure: row.value for row in references.published(PIPELINE)}
        same = (round(train, 3), round(test, 3)) == (
            printed["train_accuracy"],
            printed["mean_test_accuracy"],
        )
        return (
            f"The course's pipeline gives {units.percent(train, 1)} ({right:.0f}/{_ROWS}) on the "
            f"rows it was fitted to and {units.percent(test, 1)} ({units.percent(test, 4)}) over "
            f"three splits: {'as printed' if same else 'not what is printed'}."
        )
    return ""


def _orders(groups: Sequence[ExaminationGroup]) -> Table:
    """Return what the order of the rows does to the same three splits."""
    lines = []
    for group in groups:
        rows = findings.row_by_measure(group)
        for name, about in ORDERS.items():
            cells: dict[str, Row | str | None] = {
                "order": about,
                "train": rows.get(f"{name}_train_accuracy"),
                "mean": rows.get(f"{name}_mean_accuracy"),
                "converged": rows.get(f"{name}_converged_mean_accuracy"),
            }
            cells |= {
                f"split {number}": rows.get(f"{name}_split_{number}_accuracy")
                for number in range(1, SPLITS + 1)
            }
            lines.append(_line(group, f"{_HERE}, {group.tool}", cells))
    lines += published_lines([PIPELINE], _published_order, general=_flaws("mila_course.toml"))
    return Table(
        suite=SUITE,
        title="what the order of the rows does",
        columns=[
            TableColumn(name="order", heading="Order of the rows", text=True),
            TableColumn(name="train", heading="Training accuracy"),
            *(
                TableColumn(
                    name=f"split {number}",
                    heading=f"Split {number}",
                    about="its interval is the exact one of a proportion of 171 rows"
                    if number == 1
                    else "",
                )
                for number in range(1, SPLITS + 1)
            ),
            TableColumn(name="mean", heading="Mean of the splits"),
            TableColumn(
                name="converged",
                heading="Fits to the end",
                about="mean of the splits with a tolerance of 1e-9 in place of scikit-learn's 1e-4",
            ),
        ],
        lines=lines,
        notes=[
            "A split draws rows by their place: another order tests on other rows.",
            "At scikit-learn's own tolerance a row on the border falls to either side by rounding, "
            "so a figure may differ by one row between processors; fits to the end agree.",
            "The document's order is that of an unstable sort. A stable one, as pandas takes for "
            "text in Arrow, tests on other rows and is no better.",
        ],
    )


def _published_order(rows: Mapping[str, Row]) -> Mapping[str, Row | str | None]:
    return {
        "order": next(iter(rows.values())).facts["order"],
        "train": rows["train_accuracy"],
        "mean": rows["mean_test_accuracy"],
    }


def _splits(groups: Sequence[ExaminationGroup]) -> Table:
    """Return how far seed, solver and scaling move the test accuracy."""
    lines = []
    for group in groups:
        rows = findings.row_by_measure(group)
        seeds = rows.get("accuracy_over_seeds")
        if seeds is not None:
            ends = [rows["lowest_seeds"].value, rows["highest_seeds"].value]
            between = " to ".join("unknown" if end is None else units.percent(end) for end in ends)
            lines.append(
                _line(
                    group,
                    "other seeds of the three splits",
                    {"what": "UCI's order, mean over seeds", "test": seeds, "range": between},
                    n=seeds.n,
                )
            )
            shift = rows["order_difference"]
            lines.append(
                _line(
                    group,
                    "other seeds of the three splits",
                    {"what": "the document's order instead of UCI's", "difference": shift},
                    n=shift.n,
                )
            )
        for name, (_, _, about) in VARIANTS.items():
            test = rows.get(f"sensitivity_{name}_accuracy")
            if test is not None:
                cells: dict[str, Row | str | None] = {
                    "what": about,
                    "train": rows[f"sensitivity_{name}_train_accuracy"],
                    "test": test,
                    "difference": rows.get(f"sensitivity_{name}_difference"),
                }
                lines.append(
                    _line(group, "solver and scaling, on the same splits", cells, n=test.n)
                )
    return Table(
        suite=SUITE,
        title="what seed, solver and scaling do",
        columns=[
            TableColumn(name="what", heading="Changed", text=True),
            TableColumn(name="train", heading="Training accuracy"),
            TableColumn(name="test", heading="Test accuracy"),
            TableColumn(
                name="difference",
                heading="Difference",
                about="of test accuracy, in points of percentage, to the line above or to the "
                "course's own solver",
            ),
            TableColumn(
                name="range", heading="95 % of seeds", about="what three splits of one seed give"
            ),
        ],
        lines=lines,
        notes=["n counts seeds above, splits below."],
    )


# --- the frameworks ------------------------------------------------------------------------------

_ASKED: Final = (  # measure, heading, what it is
    ("open_source", "Open source", "by the package's metadata"),
    ("gpu_build", "GPU", "built for CUDA or ROCm"),
    ("cudnn", "cuDNN", ""),
    ("tpu", "TPU", "as installed"),
    ("tensorboard", "TensorBoard", "it reads the event file that was written"),
    ("breakpoint", "Breakpoint", "in the model's forward pass, its values readable"),
    ("breakpoint_in_training", "In training", "the same in every training step, by default"),
    ("export", "Export", "exported and loaded again, equal outputs"),
    ("mobile", "Phone", "the same in the runtime for phones"),
    ("hub", "Hub", "a model made by its name"),
    ("graph_per_step", "Dynamic", "the graph is built in every training step, by default"),
    ("traced", "Traced", "a traced graph runs without the model's Python"),
)
_IN_WORDS: Final = {  # column -> fact of the published line
    "open_source": "licence",
    "tensorboard": "visualisation",
    "export": "production",
    "graph_per_step": "graph",
}


def _frameworks(groups: Sequence[ExaminationGroup]) -> Table:
    lines = [_framework(group) for group in groups]
    tried = {group.system.framework for group in groups}
    lines += [_not_tried(name) for name in ("torch", "keras-tensorflow") if name not in tried]
    flaws = _flaws("mila_frameworks.toml")
    lines += published_lines([FRAMEWORKS], _published_framework, general=flaws)
    return Table(
        suite=SUITE,
        title="PyTorch and TensorFlow, row by row",
        columns=[
            TableColumn(name="tool", heading="Tool", text=True),
            *(
                TableColumn(name=name, heading=heading, about=about)
                for name, heading, about in _ASKED
            ),
        ],
        lines=lines,
        notes=[
            *(f"published: {flaw}" for flaw in flaws),
            *(groups[0].examination.notes if groups else ()),
        ],
    )


def _framework(group: ExaminationGroup) -> TableLine:
    rows = findings.row_by_measure(group)
    cells: dict[str, Row | str | None] = {name: rows.get(name) for name, _, _ in _ASKED}
    return _line(group, _HERE, {"tool": group.tool, **cells})


def _not_tried(name: str) -> TableLine:
    why = "not asked for" if frameworks.installed(name) else frameworks.install_line(name)
    return TableLine(
        group=NOT_RUN,
        origin=None,
        date="",
        source="",
        n=None,
        cells={"tool": f"{name}: {why}"},
    )


def _published_framework(rows: Mapping[str, Row]) -> Mapping[str, Row | str | None]:
    first = next(iter(rows.values()))
    cells: dict[str, Row | str | None] = {"tool": first.system}
    for name, _, _ in _ASKED:
        told = first.facts.get(_IN_WORDS.get(name, ""))
        cells[name] = told or rows.get(name)
    return cells


# --- the hardware --------------------------------------------------------------------------------

_CLAIMS: Final = (  # step, claim, measures: the answer first
    (
        "matrix",
        "an accelerator multiplies matrices faster than the CPU",
        ("accelerator_speed_up", "accelerator_product", "cpu_product", "cpu_product_bf16"),
    ),
    (
        "matrix",
        "a CPU's cores share the work",
        ("cores_speed_up", "one_core_product"),
    ),
    (
        "overlap",
        "preparing data beside computing takes less time",
        ("overlap_speed_up", "overlap_most", "batch_time_before", "batch_time_beside"),
    ),
    (
        "inference",
        "a CPU is enough to answer one question at a time",
        ("cpu_latency", "cpu_throughput", "accelerator_latency", "latency_speed_up"),
    ),
)


def _hardware(groups: Sequence[ExaminationGroup]) -> Table:
    lines = []
    for group in groups:
        rows = findings.row_by_measure(group)
        abouts = {one.measure: one.about for step in group.steps for one in step.seeks}
        for step, claim, measures in _CLAIMS:
            for measure in measures:
                row = rows.get(measure)
                if row is None:
                    continue  # a light run without the step
                found: dict[str, Row | str | None] = {"what": abouts[measure], "found": row}
                lines.append(_line(group, f"{step}: {claim}", found, n=row.n))
    lines += _published_ratio()
    return Table(
        suite=SUITE,
        title="claims on hardware",
        columns=[
            TableColumn(name="what", heading="What was measured", text=True),
            TableColumn(name="found", heading="Found"),
        ],
        lines=lines,
        notes=list(groups[0].examination.notes) if groups else [],
    )


def _published_ratio() -> list[TableLine]:
    """Return the peaks of the course's own table of processors; `machine` shows all of it."""
    lines = []
    for row in references.published("machine"):
        if row.measure == "peak_flops" and row.facts["table"] == "CPU, GPU, TPU":
            lines.append(
                TableLine(
                    group=f"published: {row.source}",
                    origin="published",
                    date=row.date,
                    source=row.source,
                    n=None,
                    cells={"what": f"peak FLOPS, {row.system}, {row.precision}", "found": row},
                    notes=list(row.notes),
                    evidence=list(row.evidence),
                )
            )
    return lines


def _flaws(name: str) -> tuple[str, ...]:
    return references.flaws_of(name)
