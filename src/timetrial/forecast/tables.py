"""What probes and predictions say, as tables that every report can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from timetrial import units
from timetrial.forecast.front import Choice, Limits
from timetrial.forecast.predict import row_of
from timetrial.forecast.stored import ScoreCard, Scored
from timetrial.forecast.systems import Probed
from timetrial.rows import Front, FrontPoint, Row, Table, TableColumn, TableLine
from timetrial.stats.intervals import Estimate

_SYSTEM = TableColumn(name="system", heading="System", text=True)


# --- probes --------------------------------------------------------------------------------------


def probe_rows(system: Probed) -> list[Row]:
    """Return what probes measured of one system: a row per measure."""
    pace = system.pace
    half = 1.96 * pace.relative_error * pace.step_s if pace.relative_error else None
    return [
        _probe_row(system, "seconds_per_step", pace.step_s, half),
        _probe_row(system, "evaluation_time", pace.eval_s, None),
        _probe_row(system, "set_up_time", pace.set_up_s, None),
        _probe_row(system, "start_up_time", pace.start_up_s, None),
    ]


def _probe_row(system: Probed, measure: str, value: float, half: float | None) -> Row:
    notes = []
    if measure == "evaluation_time" and system.eval_examples is not None:
        notes.append(f"from a look at {system.eval_examples:,} examples")
    if measure == "seconds_per_step":
        notes.append("the interval is that of what varies within the probe, not from run to run")
        if system.drift is not None:
            notes.append(f"drift within the probe {100 * system.drift:+.1f} %")
    return Row(
        task=system.task,
        target=None,
        split=None,
        clock=None,
        dataset=system.dataset,
        division="closed",
        framework=system.framework,
        device=system.device,
        cores=system.cores,
        precision=system.precision,
        workers=1,
        launcher="local",
        network=None,
        system=name_of(system),
        measure=measure,
        value=value,
        low=None if half is None else value - half,
        high=None if half is None else value + half,
        n=system.pace.probes,
        unit="s",
        origin="measured",
        source="shipped with timetrial" if system.shipped else "probes of this store",
        date=system.date,
        status_counts={},
        notes=notes,
        evidence=list(system.evidence),
    )


def name_of(system: Probed) -> str:
    """Return machine, software and precision."""
    plain = [] if system.precision == "float32" else [system.precision]
    return ", ".join([system.machine, *plain])


def probe_table(systems: Sequence[Probed]) -> Table:
    """Return how fast systems are, as their probes say."""
    lines = []
    for system in systems:
        rows = {row.measure: row for row in probe_rows(system)}
        lines.append(
            TableLine(
                group=system.task,
                origin="measured",
                date=system.date,
                source=rows["seconds_per_step"].source,
                n=system.pace.probes,
                cells={
                    "system": name_of(system),
                    "step": rows["seconds_per_step"],
                    "drift": _signed(system.drift),
                    "look": rows["evaluation_time"],
                    "set_up": rows["set_up_time"],
                    "start_up": rows["start_up_time"],
                },
                notes=[note for row in rows.values() for note in row.notes[:1]],
                evidence=system.evidence,
            )
        )
    return Table(
        suite="probe",
        title="speed alone",
        columns=(
            _SYSTEM,
            TableColumn(name="step", heading="Time per step", about="after warm-up"),
            TableColumn(name="drift", heading="Drift", about="later half over the earlier"),
            TableColumn(name="look", heading="Evaluation", about="a whole one"),
            TableColumn(name="set_up", heading="Set-up", about="data, network, compilation"),
            TableColumn(name="start_up", heading="Start-up", about="before the clock begins"),
        ),
        lines=lines,
        notes=["a probe says how fast steps are, nothing of how many it takes: timetrial predict"],
    )


def _signed(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:+.1f} %"


# --- predictions ---------------------------------------------------------------------------------


def prediction_table(choices: Sequence[Choice], limits: Limits | None = None) -> Table:
    """Return what the next run takes and costs on each system.

    With `limits` also the chance to keep them, the front first.
    """
    asked = limits is not None
    return Table(
        suite="recommend" if asked else "predict",
        title=_title(choices),
        columns=(
            _SYSTEM,
            TableColumn(
                name="time", heading="Time", about="of the next run, 95 % interval, mlperf clock"
            ),
            TableColumn(name="cost", heading="Cost", about="of the billed time of the next run"),
            TableColumn(
                name="chance",
                heading="Chance",
                about=_chance_about(limits),
            ),
            *([TableColumn(name="front", heading="Front", about=_FRONT, text=False)]
              if asked else []),
        ),
        lines=[_line(choice, asked=asked) for choice in choices],
        notes=_unknowns(choices, limits),
    )  # fmt: skip


_FRONT = "no other system here is both quicker and cheaper in the median"


def _chance_about(limits: Limits | None) -> str:
    if limits is None:
        return "to reach the target at all"
    parts = []
    if limits.deadline_s is not None:
        parts.append(f"done within {units.duration(limits.deadline_s)}")
    if limits.cost is not None:
        parts.append(f"for at most {units.money(limits.cost, limits.currency)}")
    return " and ".join(["to be " + parts[0], *parts[1:]]) if parts else "to reach the target"


def _title(choices: Sequence[Choice]) -> str:
    whats = dict.fromkeys(
        f"{one.prediction.task} {'to ' + one.prediction.target if one.prediction.target else ''}"
        for one in choices
    )
    return "; ".join(what.strip() for what in whats)


def _line(choice: Choice, *, asked: bool) -> TableLine:
    row = row_of(choice.prediction)
    cells: dict[str, Row | str] = {
        "system": row.system,
        "time": row,
        "cost": "unknown" if (money := cost_row(choice)) is None else money,
        "chance": _chance_words(choice, asked=asked),
    }
    if asked:
        cells["front"] = "yes" if choice.on_front else "no"
    beaten = [f"quicker and cheaper: {choice.beaten_by}"] if asked and choice.beaten_by else []
    price = [] if choice.price_source is None else [f"price: {choice.price_source}"]
    return TableLine(
        group=row.task,
        origin="predicted",
        date=row.date,
        source=row.source,
        n=row.n,
        cells=cells,
        notes=[*row.notes, *price, *beaten],
        evidence=row.evidence,
    )


def _chance_words(choice: Choice, *, asked: bool) -> str:
    share = choice.both if asked else choice.prediction.chance_reached
    return "unknown" if share is None else units.percent(share, 0)


def cost_row(choice: Choice) -> Row | None:
    """Return the row of the cost of a run; None where the price is unknown."""
    if choice.cost is None:
        return None
    row = row_of(choice.prediction)
    return msgspec.structs.replace(
        row,
        measure="cost_per_run",
        clock="billed",
        unit=choice.currency or "USD",
        value=choice.cost.value,
        low=choice.cost.low,
        high=choice.cost.high,
        notes=[*row.notes, f"price: {choice.price_source}"],
    )


def rows_of_choices(choices: Sequence[Choice]) -> list[Row]:
    """Return the rows of all predictions: time, then cost where the price is known."""
    rows = []
    for choice in choices:
        rows.append(row_of(choice.prediction))
        money = cost_row(choice)
        rows += [] if money is None else [money]
    return rows


def _unknowns(choices: Sequence[Choice], limits: Limits | None) -> list[str]:
    """Say what a recommendation does not know."""
    notes = []
    free = sum(one.cost is None for one in choices)
    if free:
        notes.append(
            f"{free} of {len(choices)} systems have no price: their cost is unknown, they are on "
            "no front. Give --book FILE or --price-per-hour USD"
        )
    if any(one.prediction.system.shipped for one in choices):
        notes.append("systems that came with timetrial were probed elsewhere: see their dates")
    never = [one for one in choices if one.prediction.seconds is None]
    if never:
        notes.append(f"{len(never)} of {len(choices)} more likely than not never reach the target")
    if limits is not None:
        notes.append(
            "not known: systems that nobody probed; queues, storage, transfer and the time to set "
            "a machine up; other prices than those given"
        )
    return notes


def front_of_choices(choices: Sequence[Choice], limits: Limits) -> Front | None:
    """Return the picture of time against cost; None where no cost is known."""
    points = []
    priced = [one.currency for one in choices if one.cost is not None]
    main = max(priced, key=priced.count, default=None)
    for one in choices:
        if one.cost is None or one.cost.value is None or one.seconds.value is None:
            continue
        if one.currency != main:  # amounts in several currencies have no common axis
            continue
        points.append(
            FrontPoint(
                system=row_of(one.prediction).system,
                time_s=one.seconds.value,
                time_low_s=one.seconds.low,
                time_high_s=one.seconds.high,
                cost=one.cost.value,
                cost_low=one.cost.low,
                cost_high=one.cost.high,
                on_front=one.on_front,
                chance=one.both,
            )
        )
    if not points:
        return None
    return Front(
        title=_title(choices),
        currency=main or limits.currency,
        deadline_s=limits.deadline_s,
        cost_limit=limits.cost if limits.currency == main else None,
        points=points,
    )


# --- scores --------------------------------------------------------------------------------------


def score_table(found: Sequence[Scored], card: ScoreCard | None, waiting: int) -> Table:
    """Return predictions beside the runs that followed them."""
    lines = [
        TableLine(
            group=one.prediction.task,
            origin="predicted",
            date=one.prediction.made_utc[:10],
            source=f"prediction {one.prediction.id}",
            n=1,
            cells={
                "system": row_of(one.prediction).system,
                "predicted": row_of(one.prediction),
                "measured": _measured(one),
                "error": f"{100 * one.error:+.1f} %",
                "inside": "yes" if one.inside else "no",
                "share": units.percent(one.probe_share, 1),
            },
            evidence=[one.run],
        )
        for one in found
    ]
    notes = [] if card is None else card_words(card)
    if waiting:
        notes.append(f"{waiting} predictions wait for a run that fits them")
    return Table(
        suite="predict --score",
        title="predictions and the runs that followed",
        columns=(
            _SYSTEM,
            TableColumn(name="predicted", heading="Predicted", about="with 95 % interval"),
            TableColumn(name="measured", heading="Measured", about="one run after it"),
            TableColumn(name="error", heading="Error", about="predicted over measured, less 1"),
            TableColumn(name="inside", heading="Inside", about="the interval held it"),
            TableColumn(name="share", heading="Probe", about="its time over the run's"),
        ),
        lines=lines,
        notes=notes,
    )


def card_words(card: ScoreCard) -> list[str]:
    """Say how good the predictions were."""
    return [
        f"{units.count(card.n, 'prediction')}: median error {_shares(card.median_error)}",
        f"median half-width of the 95 % intervals {units.percent(card.median_half_width, 1)}",
        f"the intervals held {_shares(card.coverage)} of the runs (they should hold 95 %)",
        f"the longest probe took {units.percent(card.largest_probe_share, 1)} of its run's time",
    ]


def _shares(estimate: Estimate) -> str:
    assert estimate.value is not None
    value = units.percent(estimate.value, 1)
    if estimate.low is None or estimate.high is None:
        return f"{value} (no interval)"
    low, high = units.percent(estimate.low, 1), units.percent(estimate.high, 1)
    return f"{value} ({low} to {high})"


def _measured(one: Scored) -> Row:
    row = row_of(one.prediction)
    facts: Mapping[str, str] = {"seed": str(one.seed)}
    return msgspec.structs.replace(
        row,
        value=one.measured_s,
        low=None,
        high=None,
        n=1,
        origin="measured",
        notes=[],
        evidence=[one.run],
        facts=facts,
    )
