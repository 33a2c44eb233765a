"""A suite's table as real ones look: measured, not run and published lines; made-up numbers."""

from __future__ import annotations

from example_findings import HOSTILE, row

from timetrial.rows import StepChart, StepCurve, Table, TableColumn, TableLine

SYSTEM = "Intel Xeon Processor, 2 cores"
COLUMNS = (
    TableColumn(name="tool", heading="Tool", text=True),
    TableColumn(name="system", heading="System", text=True),
    TableColumn(name="time", heading="Time", about="clock benchm-dl: fit() alone"),
    TableColumn(name="gpu", heading="GPU %"),
    TableColumn(name="gpus", heading="GPUs busy"),
    TableColumn(name="cores", heading="Cores used"),
    TableColumn(name="cost", heading="Cost per run"),
    TableColumn(name="error", heading="Error"),
)


def _row(measure, unit, numbers, **more):  # type: ignore[no-untyped-def]
    return row("mnist-cnn", SYSTEM, measure, unit, numbers, **more)


def _published(measure, unit, value):  # type: ignore[no-untyped-def]
    return _row(measure, unit, (value, None, None), origin="published", n=1, status_counts={})


def step_curve(task: str, top: float) -> StepCurve:
    """Return a curve of error against steps, of three runs."""
    steps = [391.0 * place for place in range(1, 9)]
    mean = [top + 0.5 / place for place in range(1, 9)]
    return StepCurve(
        task=task,
        framework="torch",
        system=SYSTEM,
        metric="error_rate",
        split="test",
        threshold=None,
        n=3,
        steps=steps,
        mean=mean,
        low=[value - 0.01 for value in mean],
        high=[*(value + 0.01 for value in mean[:-1]), None],
    )


def table() -> Table:
    """Return a table with every kind of line and cell."""
    light = "light: at most 469 of 4,690 steps, target accuracy >= 0.97 on test; not the full task"
    flaw = "one run each, no interval"
    return Table(
        suite="benchm-dl",
        title="mnist-cnn, tool by tool",
        columns=COLUMNS,
        lines=[
            TableLine(
                group="measured on this machine, data set mnist, light: not the full task",
                origin="measured",
                date="2026-10-27",
                source="timetrial 0.1.0",
                n=3,
                cells={
                    "tool": "torch 2.13.0 (light)",
                    "system": SYSTEM,
                    "time": _row("run_time", "s", (12.3, 11.9, 12.8), n=3),
                    "gpu": "no GPU",
                    "gpus": "none",
                    "cores": _row("fit_cores_used", "1", (1.93, 1.9, 1.95), n=3),
                    "cost": _row("cost_per_run", "USD", (None, None, None), n=3),
                    "error": _row(
                        "final_test_error_rate", "fraction", (0.021, 0.0192, 0.0231), n=3
                    ),
                },
                notes=[light],
                evidence=["mnist-cnn-light-20261027T140000Z-1a2b3c4d"],
            ),
            TableLine(
                group="not run on this machine",
                origin=None,
                date="",
                source="",
                n=None,
                cells={"tool": "jax", "system": "not installed: pip install 'timetrial[jax]'"},
            ),
            TableLine(
                group="published: szilard/benchm-dl, the document, by tool",
                origin="published",
                date="2017",
                source="szilard/benchm-dl",
                n=1,
                cells={
                    "tool": "keras (theano)",
                    "system": "AWS p2.xlarge, 1 K80",
                    "time": _published("train_time_after_10_epochs", "s", 146.0),
                    "gpu": _published("gpu_snapshot", "fraction", 0.86),
                    "gpus": "1 of 1",
                    "cores": "1 busy",
                    "error": _published("error_rate_after_10_epochs", "fraction", 0.009),
                },
                notes=["Theano's last release is 1.0.5 (2020)"],
                evidence=["https://github.com/szilard/benchm-dl"],
            ),
        ],
        notes=[f"published: {flaw}"],
        charts=[
            StepChart(
                title="Test error against training steps",
                labels=["ResNet-20, torch", "ResNet-56, torch"],
                curves=[step_curve("a", 0.1), step_curve("b", 0.07)],
            )
        ],
    )


def hostile_table() -> Table:
    """Return a table in which every text from outside attacks the reader."""
    line = TableLine(
        group=HOSTILE,
        origin="published",
        date=HOSTILE,
        source=HOSTILE,
        n=1,
        cells={"tool": '=HYPERLINK("http://x.test")', "time": HOSTILE, "error": "-1+1"},
        notes=["@SUM(1)", HOSTILE],
        evidence=["https://x.test/\"onmouseover='a'"],
    )
    columns = (
        TableColumn(name="tool", heading=HOSTILE, text=True),
        TableColumn(name="time", heading=HOSTILE, about=HOSTILE),
        TableColumn(name="error", heading="=1"),
    )
    chart = StepChart(title=HOSTILE, labels=[HOSTILE], curves=[step_curve(HOSTILE, 0.1)])
    return Table(
        suite=HOSTILE,
        title=HOSTILE,
        columns=columns,
        lines=[line],
        notes=[HOSTILE],
        charts=[chart],
    )
