"""Findings as real ones look: two tasks, two systems, a published, a predicted and a censored row.

All numbers are made up; only their shape is real.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from timetrial.rows import (
    Confusion,
    Curve,
    Findings,
    MachineFacts,
    Row,
    RunLine,
    SegmentBar,
    Verdict,
)

ONE: Final = "Intel Xeon Processor, 1 core, torch 2.13.0, Python 3.11"
TWO: Final = "Intel Xeon Processor, 2 cores, torch 2.13.0, Python 3.11"
PUBLISHED: Final = "AWS p2.xlarge, Tesla K80, keras 2.2 on tensorflow 1.11"
FASHION: Final = "fashion-mnist-cnn"
DIGITS: Final = "digits-cnn"
HOSTILE: Final = "<script>alert(1)</script> | `a` \x1b[31m [red]*b*_c_ \u202e\nend"
_TARGETS: Final = {
    FASHION: "accuracy >= 0.89 on validation",
    DIGITS: "accuracy >= 0.97 on validation",
}


def row(task: str, system: str, measure: str, unit: str, numbers: Sequence[float | None], **more):  # type: ignore[no-untyped-def]
    """Return a row with `numbers` = value, low, high; `more` overrides any field."""
    value, low, high = numbers
    fields: dict[str, object] = {
        "task": task,
        "target": _TARGETS.get(task),
        "split": "validation",
        "clock": "mlperf",
        "dataset": task.removesuffix("-cnn"),
        "division": "closed",
        "framework": "torch",
        "device": "cpu",
        "cores": 2 if system == TWO else 1,
        "precision": "float32",
        "workers": 1,
        "launcher": "local",
        "network": None,
        "system": system,
        "measure": measure,
        "value": value,
        "low": low,
        "high": high,
        "n": 5,
        "unit": unit,
        "origin": "measured",
        "source": "this report",
        "date": "2026-10-27",
        "status_counts": {"reached": 5},
        "notes": [],
        "evidence": ["timetrial-runs/20261027-140211-7f3a"],
    }
    return Row(**{**fields, **more})


def _others(task: str, system: str, scale: float) -> list[Row]:
    """Return rows of all measures beside time to target; `scale` stretches those of time."""
    two = system == TWO
    quality = 0.9012 if task == FASHION else 0.9743
    measures: list[tuple[str, str, float]] = [
        ("final_test_accuracy", "fraction", quality),
        ("validation_test_gap", "fraction", 0.0021),
        ("accuracy_after_60s", "fraction", quality - 0.02),
        ("wall", "s", 74.2 * scale),
        ("train_only", "s", 61.8 * scale),
        ("train_time_after_10_epochs", "s", 118.0 * scale),
        ("seconds_per_step", "s", 0.0263 * scale),
        ("steps_to_target", "1", 2345.0),
        ("examples_per_s", "1/s", 4870.0 / scale),
        ("cpu", "s", 73.0 * (1.1 if two else 1.0)),
        ("cores_used", "1", 1.93 if two else 0.99),
        ("peak_memory", "byte", 612e6 if two else 588e6),
    ]
    rows = [
        row(task, system, measure, unit, (value, *_ends(value, unit)))
        for measure, unit, value in measures
    ]
    for clock, share in (("wall", 1.11), ("train-only", 0.86), ("mlbench-2018", 0.95)):
        value = 66.5 * scale * share
        numbers = (value, value * 0.96, value * 1.04)
        rows.append(row(task, system, "time_to_target", "s", numbers, clock=clock))
    return rows


def _ends(value: float, unit: str) -> tuple[float, float]:
    if unit == "fraction":
        return value - 0.0017, value + 0.0015
    return value * 0.97, value * 1.035


def _rows() -> list[Row]:
    rows = [
        row(FASHION, ONE, "time_to_target", "s", (66.5, 63.9, 69.4)),
        row(FASHION, TWO, "time_to_target", "s", (38.9, 37.6, 40.4)),
        *_others(FASHION, ONE, 1.0),
        *_others(FASHION, TWO, 0.585),
        row(
            FASHION,
            TWO,
            "time_to_target",
            "s",
            (39.8, 35.2, 45.1),
            origin="predicted",
            source="one-minute probe × steps to target",
            status_counts={},
            notes=["Made of the spread of the probe and of steps to target; not yet run."],
        ),
        row(
            FASHION,
            PUBLISHED,
            "time_to_target",
            "s",
            (95.0, None, None),
            framework="keras",
            clock="benchm-dl",
            n=1,
            origin="published",
            source="benchm-dl, szilard/benchm-dl README",
            date="2017-11-04",
            status_counts={},
            cores=None,
            notes=["Published from one run; times fit alone, on another model of similar size."],
            evidence=["https://github.com/szilard/benchm-dl"],
        ),
        row(
            DIGITS,
            ONE,
            "time_to_target",
            "s",
            (None, 12.0, None),
            status_counts={"reached": 0, "budget": 4, "out_of_memory": 1},
            notes=["No run met its target within the budget of 12 s: a lower bound."],
        ),
        row(DIGITS, TWO, "time_to_target", "s", (7.42, 7.1, 7.81)),
        row(DIGITS, ONE, "cost", "USD", (None, None, None), n=5),
        *_others(DIGITS, TWO, 0.113)[:9],
    ]
    stop = "Stops on validation; test is evaluated once, after the clock has stopped."
    return [_noted(item, stop) if item.task == FASHION else item for item in rows]


def _noted(item: Row, note: str) -> Row:
    fields = {name: getattr(item, name) for name in item.__struct_fields__}
    return Row(**{**fields, "notes": [note, *item.notes]})


def _curve(task: str, system: str, *, end_s: float, top: float, n: int = 5) -> Curve:
    times = [end_s * place / 16 for place in range(1, 17)]
    mean = [top - 0.24 * math.exp(-place / 3.1) for place in range(1, 17)]
    spread = [0.002 + 0.016 * math.exp(-place / 4) for place in range(1, 17)]
    return Curve(
        task=task,
        framework="torch",
        system=system,
        metric="accuracy",
        split="validation",
        clock="mlperf",
        threshold=0.89 if task == FASHION else 0.97,
        n=n,
        times_s=times,
        mean=mean,
        low=[value - half for value, half in zip(mean, spread, strict=True)],
        high=[value + half for value, half in zip(mean[:-1], spread, strict=False)] + [None],
    )


def _confusion(task: str, system: str) -> Confusion:
    classes = ("T-shirt", "trouser", "pullover", "<b>coat")
    counts = [[4001, 3, 996, 0], [0, 5000, 0, 0], [1200, 0, 3000, 800], [0, 1, 2499, 2500]]
    return Confusion(
        task=task,
        framework="torch",
        system=system,
        split="test",
        n=5,
        classes=classes,
        counts=counts,
    )


def _bar(task: str, system: str, scale: float) -> SegmentBar:
    parts: Mapping[str, float] = {
        "imports": 2.1,
        "data": 1.4 * scale + 0.9,
        "build": 0.35,
        "train": 61.8 * scale,
        "eval": 7.2 * scale,
        "checkpoint": 0.21,
        "log": 0.04,
        "teardown": 0.3,
    }
    return SegmentBar(task=task, framework="torch", system=system, n=5, seconds=parts)


def _runs() -> list[RunLine]:
    lines = []
    for task, system, wall in ((FASHION, ONE, 74.0), (FASHION, TWO, 43.0), (DIGITS, ONE, 12.0)):
        for place in range(5):
            reached = task == FASHION
            name = f"20261027-14{len(lines):02d}11-{task}-{place}"
            lines.append(
                RunLine(
                    run=name,
                    task=task,
                    framework="torch",
                    system=system,
                    seed=3141592653 + 97 * len(lines),
                    status="reached" if reached else "out_of_memory" if place == 4 else "budget",
                    wall_s=wall + place * 0.7,
                    time_to_target_s=wall * 0.9 + place * 0.6 if reached else None,
                    quality=None if task == DIGITS and place == 4 else 0.8931 + place * 0.0007,
                    quality_label="accuracy, test",
                    directory=f"/home/user/studies/timetrial-runs/{name}",
                )
            )
    return lines


def findings() -> Findings:
    """Return a full report."""
    return Findings(
        title="Does a second core pay? Two small image tasks on one machine",
        command="timetrial run fashion-mnist-cnn digits-cnn --cores 1,2 --seeds 5",
        made_utc="2026-10-27 14:31 UTC",
        version="0.1.0",
        rows=_rows(),
        curves=[
            _curve(FASHION, ONE, end_s=81, top=0.9),
            _curve(FASHION, TWO, end_s=47, top=0.9),
            _curve(DIGITS, ONE, end_s=12, top=0.962),
            _curve(DIGITS, TWO, end_s=9.3, top=0.977),
        ],
        confusions=[_confusion(FASHION, TWO)],
        bars=[
            _bar(FASHION, ONE, 1.0),
            _bar(FASHION, TWO, 0.585),
            _bar(DIGITS, TWO, 0.1),
        ],
        verdicts=[
            Verdict(
                task=FASHION,
                measure="time_to_target",
                target=_TARGETS[FASHION],
                clock="mlperf",
                a=ONE,
                b=TWO,
                n_a=5,
                n_b=5,
                ratio=1.71,
                low=1.62,
                high=1.8,
                verdict="B faster",
                more_runs=None,
                notes=[],
            ),
            Verdict(
                task=DIGITS,
                measure="seconds_per_step",
                a=ONE,
                b=TWO,
                n_a=5,
                n_b=5,
                ratio=1.04,
                low=0.93,
                high=1.17,
                verdict="not distinguishable",
                more_runs=12,
                notes=["Two of the runs of 1 core shared the machine with another process."],
            ),
        ],
        machines=[
            MachineFacts(
                system="Intel Xeon Processor (Sapphire Rapids), 2 cores",
                facts={
                    "processor": "Intel Xeon Processor (Sapphire Rapids), 2 cores, AMX",
                    "memory": "7.70 GiB",
                    "matrix product": "330 Gflop/s in float32",
                    "kernel": "Linux 6.1",
                    "other load": "0.03 of a core during the runs",
                },
            )
        ],
        runs=_runs(),
        notes=["An A/A calibration of this machine shows a noise of 1.8 % between equal runs."],
    )


def hostile() -> Findings:
    """Return findings in which every text from outside attacks the reader."""
    full = findings()
    line = row(HOSTILE, HOSTILE, HOSTILE, HOSTILE, (1.0, 0.9, 1.1))
    texts = ("target", "dataset", "division", "framework", "device", "precision", "launcher")
    attacks = dict.fromkeys((*texts, "network", "source", "date", "split"), HOSTILE)
    more = {**attacks, "notes": [HOSTILE], "evidence": ["https://x.test/\"onmouseover='a'"]}
    numbers = (1.0, 0.9, 1.1)
    timed = row(HOSTILE, HOSTILE, "time_to_target", "s", numbers, clock=HOSTILE, **more)
    other = row(HOSTILE, "b", "time_to_target", "s", numbers, clock="wall", **more)
    curve, bar, run = full.curves[0], full.bars[0], full.runs[0]
    names = {"task": HOSTILE, "framework": HOSTILE, "system": HOSTILE}
    return _changed(
        full,
        title=HOSTILE,
        command=HOSTILE + " ```",
        made_utc=HOSTILE,
        version=HOSTILE,
        rows=[line, timed, other],
        curves=[_changed(curve, **names, metric=HOSTILE, split=HOSTILE, clock=HOSTILE)],
        bars=[_changed(bar, **names, seconds={HOSTILE: 1.0, "train": 2.0})],
        verdicts=[
            _changed(full.verdicts[0], task=HOSTILE, a=HOSTILE, b="b", target=HOSTILE),
            _changed(full.verdicts[1], task=HOSTILE, measure=HOSTILE),
        ],
        machines=[MachineFacts(system=HOSTILE, facts={HOSTILE: HOSTILE})],
        runs=[
            _changed(
                run, **names, run=HOSTILE, status=HOSTILE, quality_label=HOSTILE, directory=HOSTILE
            )
        ],
        notes=[HOSTILE],
    )


def empty() -> Findings:
    """Return findings of no run at all."""
    parts = ("rows", "curves", "bars", "verdicts", "machines", "runs", "notes")
    return _changed(findings(), **dict.fromkeys(parts, ()))


def _changed(record, **fields):  # type: ignore[no-untyped-def]
    kept = {name: getattr(record, name) for name in record.__struct_fields__}
    return type(record)(**{**kept, **fields})
