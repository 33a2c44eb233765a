"""The chart of the page as a matplotlib figure, for notebooks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from timetrial.errors import MissingExtraError
from timetrial.report.arrange import Systems, name_systems, sections
from timetrial.report.axes import Axis, quality_axis, step_axis, time_axis
from timetrial.report.words import plain, threshold_label
from timetrial.rows import Curve, Findings, StepCurve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Source: Okabe and Ito, Color Universal Design (2008), darkened where 3:1 on white needs it.
COLORS: Final = (
    "#0072b2",
    "#c04f00",
    "#00805d",
    "#a8508a",
    "#946200",
    "#2a83b8",
    "#5b5b5b",
    "#7a4fa3",
)
_DASHES: Final = ("-", "--", "-.", ":")
_MARKERS: Final = "os^Dv"


def figure(findings: Findings) -> Figure:
    """Return one chart of quality against time per task, with 95 % bands and the target.

    Below them stand the pictures of suites, of quality against training steps.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", extra="notebook") from error
    systems = name_systems(findings)
    charts: list[Sequence[Curve | StepCurve]] = [
        curves for section in sections(findings) for curves in section.curves
    ]
    names: list[Sequence[str] | None] = [None for _ in charts]
    for chart in (chart for table in findings.tables for chart in table.charts):
        charts.append(chart.curves)
        names.append(chart.labels)

    class NotebookFigure(Figure):
        """A figure that a notebook shows without pyplot, which would keep every figure open."""

        def _repr_png_(self) -> bytes:
            picture = io.BytesIO()
            self.savefig(picture, format="png", dpi=100)
            return picture.getvalue()

    drawn = NotebookFigure(figsize=(7.2, 3.6 * max(len(charts), 1)), layout="constrained")
    for place, (curves, labels) in enumerate(zip(charts, names, strict=True), 1):
        _draw(drawn.add_subplot(len(charts), 1, place), curves, systems, labels)
    return drawn


def _draw(
    axes: Any,
    curves: Sequence[Curve | StepCurve],
    systems: Systems,
    labels: Sequence[str] | None,
) -> None:
    """Draw one chart; `labels` of None: its curves are systems, named and coloured as such."""
    for place, curve in enumerate(curves):
        name = labels[place] if labels else systems.label(curve.framework, curve.system)
        index = place if labels else systems.index(curve.framework, curve.system)
        _draw_curve(axes, curve, name, index)
    times, qualities = _horizontal(curves), quality_axis(curves, 6)
    axes.set_xscale("log" if times.log else "linear")
    axes.set_xticks([], minor=True)
    axes.set_xticks([tick.value for tick in times.ticks], [tick.label for tick in times.ticks])
    axes.set_yticks(
        [tick.value for tick in qualities.ticks], [tick.label for tick in qualities.ticks]
    )
    axes.set_xlim(times.low, times.high)
    axes.set_ylim(qualities.low, qualities.high)
    first = curves[0]
    for threshold in dict.fromkeys(c.threshold for c in curves if c.threshold is not None):
        label = f"target {threshold_label(threshold, first.metric)}"
        axes.axhline(threshold, color="#444", linewidth=1, linestyle=(0, (1, 2)), label=label)
    what = f"{first.split} {first.metric.replace('_', ' ')}"
    axes.set_title(_literal(what if labels else f"{first.task}: {what}"), loc="left")
    where = f"time, {first.clock} clock" if isinstance(first, Curve) else "training steps"
    axes.set_xlabel(_literal(where))
    axes.grid(color="#ddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _horizontal(curves: Sequence[Curve | StepCurve]) -> Axis:
    steps = [curve for curve in curves if isinstance(curve, StepCurve)]
    times = [curve for curve in curves if isinstance(curve, Curve)]
    return step_axis(steps, 6) if steps else time_axis(times, 6)


def _draw_curve(axes: Any, curve: Curve | StepCurve, name: str, index: int) -> None:
    color = COLORS[index % len(COLORS)]
    label = _literal(f"{name} (n = {curve.n})")
    places = curve.steps if isinstance(curve, StepCurve) else curve.times_s
    axes.plot(
        places,
        curve.mean,
        color=color,
        label=label,
        linestyle=_DASHES[index % len(_DASHES)],
        marker=_MARKERS[index % len(_MARKERS)],
        markersize=4,
        markevery=max(1, len(places) // 12),
    )
    bands = [
        (time, low, high)
        for time, low, high in zip(places, curve.low, curve.high, strict=True)
        if low is not None and high is not None
    ]
    if bands:
        times, lows, highs = zip(*bands, strict=True)
        axes.fill_between(times, lows, highs, color=color, alpha=0.18, linewidth=0)


def _literal(text: str) -> str:
    """Return `text` so that matplotlib reads no formula into it."""
    return plain(text).replace("$", r"\$")
