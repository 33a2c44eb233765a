"""Findings of several workers as real ones look: two networks, up to 16 workers. Made-up numbers."""

from __future__ import annotations

from example_findings import DIGITS, HOSTILE, empty, findings, row

from timetrial.rows import Findings, Row, Scaling, ScalingLine

NAME = "Intel Xeon Processor, 1 core, torch 2.13.0, Python 3.11, launcher shaped"
NETWORKS = {"network rate=100mbit": 1.0, "network rate=1gbit": 0.25}
COUNTS = (1, 2, 4, 16)
TARGET = "accuracy >= 0.97 on validation"


def _named(workers: int, network: str) -> str:
    team = [f"{workers} workers"] if workers > 1 else []
    return ", ".join([NAME, *team, network])


def _cells(workers: int, network: str, *, kind: str) -> dict[str, Row]:
    exchange = 0.0 if workers == 1 else 0.002 * workers * NETWORKS[network]
    computing = 0.04 / workers if kind == "strong" else 0.04
    step = computing + exchange
    ratio = 0.04 / step if kind == "strong" else workers * 0.04 / step
    system = _named(workers, network)
    more = {"workers": workers, "launcher": "shaped", "network": network, "cores": 1, "n": 3}

    def cell(measure: str, unit: str, value: float, **fields: object) -> Row:
        numbers = (value, value * 0.97, value * 1.04)
        chosen = {"target": None, "clock": None, "split": None, **more, **fields}
        made: Row = row(DIGITS, system, measure, unit, numbers, **chosen)
        return made

    timed = {"target": TARGET, "clock": "mlperf", "split": "validation"}
    rows = [
        cell("seconds_per_step", "s", step),
        cell("examples_per_s", "1/s", 32 * (workers if kind == "weak" else 1) / step),
        cell("communication_share", "fraction", exchange / step),
        cell("time_to_target", "s", 2.0 + 60 / ratio, **timed),
        cell("accuracy_after_10s", "fraction", 0.9 + 0.01 * ratio / workers),
        cell("cost_per_run", "USD", 0.002 + 0.03 / ratio, clock="billed"),
    ]
    if workers > 1:
        over = {"notes": ["over 1 worker, n = 3"], "facts": {"base_workers": "1", "base_n": "3"}}
        rows += [
            cell("speed_up", "1", ratio, **over),
            cell(f"{kind}_efficiency", "fraction", ratio / workers, **over),
            cell("speed_up_to_target", "1", 0.8 * ratio, **timed),
            cell(f"{kind}_efficiency_to_target", "fraction", 0.8 * ratio / workers, **timed),
        ]
    return {found.measure: found for found in rows}


def _line(workers: int, network: str, kind: str) -> ScalingLine:
    exchange = 0.002 * workers * NETWORKS[network]
    computing = 0.04 / workers if kind == "strong" else 0.04
    parts = {"computing": computing, "exchange": 0.8 * exchange, "waiting": 0.2 * exchange}
    alone = {"computing": computing, "rest": 0.0004}
    return ScalingLine(
        workers=workers,
        n=3,
        ideal=float(workers),
        cells=_cells(workers, network, kind=kind),
        parts_s=alone if workers == 1 else {**parts, "rest": 0.0004},
    )


def _answers(network: str) -> list[Row]:
    def answer(measure: str, unit: str, numbers: tuple[float | None, ...], facts: dict[str, str],
               **fields: object) -> Row:  # fmt: skip
        made: Row = row(DIGITS, _named(4, network), measure, unit, numbers, facts=facts, **fields)
        return made

    counts = {"counts": "1: 3, 2: 3, 4: 3, 16: 3"}
    bandwidth = {
        "fewer": "1", "more": "2", "verdict": "needs", "latency": "included", "n": "3 and 3",
        "parameters_bytes": "216104", "saved_s_per_step": "0.02", "ran_at_bit_per_s": "432e6",
    }  # fmt: skip
    return [
        answer(
            "break_even_workers", "1", (4.0, None, None),
            {"by": "time_to_target", **counts, "next": "16", "next_is": "slower"}, target=TARGET,
        ),
        answer("cheapest_workers", "1", (4.0, None, None), {"ties": "2", **counts}),
        answer("least_bandwidth", "bit/s", (86.4e6, 80e6, 94e6), bandwidth),
        answer("least_bandwidth", "bit/s", (86.4e6, 80e6, None), {**bandwidth, "fewer": "4",
               "more": "16", "latency": "apart"}),
    ]  # fmt: skip


def scaling(network: str, kind: str = "strong") -> Scaling:
    """Return one family of systems."""
    return Scaling(
        task=DIGITS,
        framework="torch",
        system=f"{NAME}, {network}",
        kind=kind,  # type: ignore[arg-type]
        target=TARGET,
        after=["accuracy_after_10s"],
        lines=[_line(workers, network, kind) for workers in COUNTS],
        answers=_answers(network),
        notes=[f"{kind} scaling: a note"],
    )


def scaled(kind: str = "strong") -> Findings:
    """Return the findings of both networks."""
    scalings = [scaling(network, kind) for network in NETWORKS]
    rows = [r for one in scalings for line in one.lines for r in line.cells.values()]
    full = findings()
    return Findings(
        **{
            **{name: getattr(empty(), name) for name in full.__struct_fields__},
            "title": "Does a faster network pay?",
            "rows": rows,
            "scalings": scalings,
        }
    )


def hostile_scaled() -> Findings:
    """Return findings of several workers in which every text from outside attacks the reader."""
    one = scaling(next(iter(NETWORKS)))
    facts = dict.fromkeys(("by", "next", "next_is", "more_runs", "counts", "ties"), HOSTILE)
    facts |= {"fewer": "1", "more": "2", "verdict": HOSTILE, "n": HOSTILE, "latency": HOSTILE}

    def attacked(found: Row) -> Row:
        fields = {name: getattr(found, name) for name in found.__struct_fields__}
        names = ("task", "system", "framework", "target", "clock", "split", "unit")
        return Row(
            **{**fields, **dict.fromkeys(names, HOSTILE), "notes": [HOSTILE], "facts": facts}
        )

    lines = [
        ScalingLine(
            workers=line.workers,
            n=line.n,
            ideal=line.ideal,
            cells={name: attacked(found) for name, found in line.cells.items()},
            parts_s={HOSTILE: 1.0, "computing": 2.0},
        )
        for line in one.lines
    ]
    attack = Scaling(
        task=HOSTILE,
        framework=HOSTILE,
        system=HOSTILE,
        kind="weak",
        target=HOSTILE,
        after=[HOSTILE, "accuracy_after_10s"],
        lines=lines,
        answers=[attacked(found) for found in one.answers],
        notes=[HOSTILE],
    )
    full = scaled()
    fields = {name: getattr(full, name) for name in full.__struct_fields__}
    return Findings(
        **{**fields, "scalings": [attack], "rows": list(attack.lines[1].cells.values())}
    )
