"""Charts as inline SVG: quality against time and steps, segments of time, intervals.

Colours are CSS classes (`s0` … for systems, `g0` … for segments) that `page.css` defines for light,
dark and paper; a dash and a marker, or a pattern, says the same without colour. Each chart is drawn
once per `Frame`, so that its letters have one size on a wide page and on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from timetrial.report.axes import Axis, duration_axis, quality_axis, step_axis, time_axis
from timetrial.report.svg import (
    COLOR_COUNT,
    Frame,
    class_of,
    line_at,
    marker,
    opened,
    px,
    stroke,
    text_at,
)
from timetrial.report.words import known, plain, sentence, threshold_label
from timetrial.rows import Curve, Row, SegmentBar, StepCurve
from timetrial.units import duration

_SEGMENT_ORDER: Final = (
    "train",
    "eval",
    "data",
    "encode",
    "bin",
    "compile",
    "build",
    "imports",
    "environment",
    "provision",
    "checkpoint",
    "log",
    "wait",
    "teardown",
)
_OF_A_STEP: Final = {  # what becomes of a step with several workers
    "computing": ("g0", 0),
    "exchange": ("g3", 1),
    "waiting": ("g4", 2),
    "rest": ("g6", 3),
}
_PATTERN_COUNT: Final = 4
_LETTER: Final = 6.6  # width of a letter of the charts' text, in px, on the wide side


def segment_class(name: str, names: Sequence[str]) -> tuple[str, int]:
    """Return colour class and pattern of a segment, the same in every chart of every report."""
    if name in _OF_A_STEP:
        return _OF_A_STEP[name]
    unknown = [other for other in names if other not in _SEGMENT_ORDER]
    place = (
        _SEGMENT_ORDER.index(name)
        if name in _SEGMENT_ORDER
        else len(_SEGMENT_ORDER) + unknown.index(name)
    )
    return f"g{place % COLOR_COUNT}", (place + place // COLOR_COUNT) % _PATTERN_COUNT


# --- accuracy against time ------------------------------------------------------------------------


def curve_chart(
    curves: Sequence[Curve],
    labels: Sequence[str],
    indices: Sequence[int],
    *,
    frame: Frame,
    identity: str,
) -> str:
    """Return one chart: a curve with its 95 % band per system, and the target as a line.

    `labels` and `indices` name and number the system of each curve.
    """
    first = curves[0]
    title = f"{sentence(_quality_words(first))} against time, {first.task}"
    words = _ChartWords(title, labels, f"time, {first.clock} clock", identity)
    return _chart(curves, indices, words, time_axis(curves, frame.ticks), frame)


def step_chart(
    curves: Sequence[StepCurve],
    labels: Sequence[str],
    indices: Sequence[int],
    *,
    frame: Frame,
    identity: str,
) -> str:
    """Return one chart of quality against training steps, as `curve_chart` is against time."""
    title = f"{sentence(_quality_words(curves[0]))} against training steps"
    words = _ChartWords(title, labels, "training steps", identity)
    return _chart(curves, indices, words, step_axis(curves, frame.ticks), frame)


class _ChartWords(NamedTuple):
    """The texts of one chart, and what its ids begin with."""

    title: str
    labels: Sequence[str]  # of the curves
    horizontal: str
    identity: str


def _chart(
    curves: Sequence[Curve | StepCurve],
    indices: Sequence[int],
    words: _ChartWords,
    places: Axis,
    frame: Frame,
) -> str:
    plot = _Plot(frame, places, quality_axis(curves, 6))
    description = " ".join(
        _curve_words(curve, label) for curve, label in zip(curves, words.labels, strict=True)
    )
    size = (frame.width, frame.height)
    pieces = [opened(words.identity, frame.name, size, (words.title, description))]
    pieces += plot.grid(sentence(_quality_words(curves[0])), words.horizontal)
    pieces += plot.targets(curves)
    drawn = list(zip(curves, indices, strict=True))
    pieces += [plot.band(curve, index) for curve, index in drawn]
    pieces += [plot.curve(curve, index) for curve, index in drawn]
    return "".join([*pieces, "</svg>"])


def _quality_words(curve: Curve | StepCurve) -> str:
    return f"{curve.split} {curve.metric.replace('_', ' ')}"


def _places(curve: Curve | StepCurve) -> Sequence[float]:
    """Return where the curve's points lie on its horizontal axis."""
    return curve.steps if isinstance(curve, StepCurve) else curve.times_s


def _curve_words(curve: Curve | StepCurve, label: str) -> str:
    places = _places(curve)
    if not places:
        return f"{label}: no evaluation."
    end = threshold_label(round(curve.mean[-1], 4), curve.metric)
    after = f"{places[-1]:,.0f} steps" if isinstance(curve, StepCurve) else duration(places[-1])
    return f"{label}: {end} after {after}, mean of {curve.n} runs."


class _Plot:
    """Where the values of one chart lie in its frame."""

    def __init__(self, frame: Frame, times: Axis, qualities: Axis) -> None:
        self._times = times
        self._qualities = qualities
        self._left = frame.left
        self._right = frame.width - 14
        self._top = 34
        self._bottom = frame.height - 46

    def x(self, seconds: float) -> float:
        """Return the horizontal place of a time."""
        return self._left + (self._right - self._left) * self._times.at(seconds)

    def y(self, quality: float) -> float:
        """Return the vertical place of a quality."""
        return self._bottom - (self._bottom - self._top) * self._qualities.at(quality)

    def grid(self, vertical: str, horizontal: str) -> list[str]:
        """Return gridlines, axis, ticks and the names of both axes."""
        pieces = [text_at(0, 14, vertical, kind="name")]
        for tick in self._qualities.ticks:
            y = self.y(tick.value)
            pieces.append(line_at((self._left, y), (self._right, y), "grid"))
            pieces.append(text_at(self._left - 9, y + 4.5, tick.label, anchor="end"))
        pieces.append(line_at((self._left, self._bottom), (self._right, self._bottom), "axis"))
        for tick in self._times.ticks:
            x = self.x(tick.value)
            pieces.append(line_at((x, self._bottom), (x, self._bottom + 5), "axis"))
            pieces.append(text_at(x, self._bottom + 20, tick.label, anchor="middle"))
        scale = ", logarithmic" if self._times.log else ""
        pieces.append(
            text_at(self._right, self._bottom + 40, horizontal + scale, anchor="end", kind="name")
        )
        return pieces

    def targets(self, curves: Sequence[Curve | StepCurve]) -> list[str]:
        """Return a line per threshold, with its value written on it."""
        metric = curves[0].metric
        pieces = []
        for threshold in dict.fromkeys(c.threshold for c in curves if c.threshold is not None):
            y = self.y(threshold)
            words = f"target {threshold_label(threshold, metric)}"
            pieces.append(line_at((self._left, y), (self._right, y), "target"))
            pieces.append(text_at(self._left + 8, y - 6, words, kind="target-name"))
        return pieces

    def band(self, curve: Curve | StepCurve, index: int) -> str:
        """Return the 95 % band, left open where too few runs give one."""
        ends = [
            (self.x(time), self.y(low), self.y(high))
            for time, low, high in zip(_places(curve), curve.low, curve.high, strict=True)
            if low is not None and high is not None and self._drawable(time, low, high)
        ]
        if not ends:
            return ""
        path = [f"{px(x)} {px(high)}" for x, _, high in ends]
        path += [f"{px(x)} {px(low)}" for x, low, _ in reversed(ends)]
        return f'<path class="band {class_of(index)}" d="M{"L".join(path)}Z"/>'

    def curve(self, curve: Curve | StepCurve, index: int) -> str:
        """Return the mean as a line with about a dozen markers."""
        points = [
            (self.x(time), self.y(mean))
            for time, mean in zip(_places(curve), curve.mean, strict=True)
            if self._drawable(time, mean)
        ]
        if not points:
            return ""
        path = "M" + "L".join(f"{px(x)} {px(y)}" for x, y in points)
        step = math.ceil(len(points) / 12)
        marks = "".join(marker(index, x, y) for x, y in points[step - 1 :: step])
        return f'<g class="{class_of(index)}">{stroke(path, index)}{marks}</g>'

    def _drawable(self, time: float, *qualities: float) -> bool:
        finite = all(math.isfinite(value) for value in (time, *qualities))
        return finite and (time > 0 or not self._times.log)


# --- segments of wall time ------------------------------------------------------------------------


def segment_chart(
    bars: Sequence[SegmentBar],
    labels: Sequence[str],
    *,
    frame: Frame,
    identity: str,
    title: str = "Where the wall time went",
) -> str:
    """Return a stacked bar per system on one axis of time; `labels` name the systems."""
    longest = max((sum(bar.seconds.values()) for bar in bars), default=0.0) or 1.0
    axis = duration_axis(longest, frame.ticks)
    row_height, top = 70, 4
    height = top + row_height * len(bars) + 24
    words = [_bar_words(bar, label) for bar, label in zip(bars, labels, strict=True)]
    whole = f"{title}, {bars[0].task}"
    pieces = [opened(identity, frame.name, (frame.width, height), (whole, " ".join(words)))]
    pieces.append(_patterns(identity))
    right = frame.width - 14
    for tick in axis.ticks:
        x = 2 + (right - 2) * axis.at(tick.value)
        anchor = "start" if tick.value == 0 else "middle"
        pieces.append(line_at((x, top + 20), (x, height - 22), "grid"))
        pieces.append(text_at(x, height - 6, tick.label, anchor=anchor))
    names = [name for bar in bars for name in bar.seconds]
    for place, (bar, label) in enumerate(zip(bars, labels, strict=True)):
        y = top + row_height * place
        room = int(frame.width / _LETTER) - 1
        pieces.append(text_at(0, y + 14, _shortened(f"{label}, n = {bar.n}", room), kind="name"))
        pieces += _stack(bar.seconds, names, axis, span=(2, right), y=y + 22, identity=identity)
    return "".join([*pieces, "</svg>"])


def _bar_words(bar: SegmentBar, label: str) -> str:
    parts = ", ".join(f"{name} {duration(seconds)}" for name, seconds in bar.seconds.items())
    return f"{label}: {parts}."


def _stack(
    seconds: Mapping[str, float],
    names: Sequence[str],
    axis: Axis,
    *,
    span: tuple[float, float],
    y: float,
    identity: str,
) -> list[str]:
    pieces = []
    start = 0.0
    for name, length in seconds.items():
        x = span[0] + (span[1] - span[0]) * axis.at(start)
        width = (span[1] - span[0]) * (axis.at(length) - axis.at(0.0))
        color, pattern = segment_class(name, names)
        box = f'x="{px(x)}" y="{px(y)}" width="{px(max(width - 1, 0.6))}" height="22"'
        pieces.append(f'<rect class="segment {color}" {box}/>')
        if pattern:
            pieces.append(f'<rect class="hatch" fill="url(#{identity}-p{pattern})" {box}/>')
        words = f"{plain(name)} {duration(length)}"
        if len(words) * _LETTER < width:
            pieces.append(text_at(x, y + 37, words))
        start += length
    return pieces


def _patterns(identity: str) -> str:
    shapes = ("M0 8L8 0", "M0 0L8 8", "M4 0V8")
    return "".join(
        f'<pattern id="{identity}-p{number}" width="8" height="8" patternUnits="userSpaceOnUse">'
        f'<path class="hatching" d="{shape}"/></pattern>'
        for number, shape in enumerate(shapes, 1)
    )


def segment_swatch(name: str, names: Sequence[str], identity: str) -> str:
    """Return the little field that stands beside a segment's name in its table."""
    color, pattern = segment_class(name, names)
    box = 'x="0" y="0" width="16" height="16"'
    hatch = f'<rect fill="url(#{identity}-p{pattern})" {box}/>' if pattern else ""
    return (
        f'<svg class="chip" viewBox="0 0 16 16" aria-hidden="true">{_patterns(identity)}'
        f'<rect class="segment {color}" {box}/>{hatch}</svg>'
    )


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


# --- estimate and interval ------------------------------------------------------------------------


def whisker(row: Row, high: float, index: int | None) -> str:
    """Return a dot with its interval from 0 to `high`; an arrow for a lower bound."""
    width, y = 176, 9
    color = "other" if index is None else class_of(index)
    low_x, high_x, x = (
        None if end is None or not known(end) else 4 + (width - 8) * min(end / high, 1.0)
        for end in (row.low, row.high, row.value)
    )
    pieces = [line_at((4, y), (width - 4, y), "grid")]
    if low_x is not None and high_x is not None:
        pieces.append(f'<path class="whisker" d="M{px(low_x)} {y}H{px(high_x)}"/>')
        pieces += [f'<path class="cap" d="M{px(end)} 5v8"/>' for end in (low_x, high_x)]
    elif low_x is not None and x is None:
        end = width - 5
        pieces.append(f'<path class="whisker open" d="M{px(low_x)} {y}H{end}"/>')
        pieces.append(f'<path class="cap" d="M{px(low_x)} 5v8M{end - 5} 5l5 4l-5 4"/>')
    if x is not None:
        pieces.append(marker(0 if index is None else index, x, y))
    body = "".join(pieces)
    return f'<svg class="whiskers {color}" viewBox="0 0 {width} 18" aria-hidden="true">{body}</svg>'
