"""Charts as inline SVG: quality against time and steps, segments of time, intervals.

Colours are CSS classes (`s0` … for systems, `g0` … for segments) that `page.css` defines for light,
dark and paper; a dash and a marker, or a pattern, says the same without colour. Each chart is drawn
once per `Frame`, so that its letters have one size on a wide page and on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, NamedTuple

from timetrial.report.axes import Axis, duration_axis, quality_axis, step_axis, time_axis
from timetrial.report.words import known, plain, sentence, threshold_label
from timetrial.rows import Curve, Row, SegmentBar, StepCurve
from timetrial.units import duration

COLOR_COUNT: Final = 8
_DASHES: Final = ("", "7 4", "2 3", "9 3 2 3")
_SEGMENT_ORDER: Final = (
    "train",
    "eval",
    "data",
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
_PATTERN_COUNT: Final = 4
_LETTER: Final = 6.6  # width of a letter of the charts' text, in px, on the wide side


@dataclass(frozen=True, slots=True)
class Frame:
    """A size to draw for: the whole picture in px and how many ticks it bears."""

    name: str
    width: int
    height: int
    left: int
    ticks: int


WIDE: Final = Frame("wide", 880, 400, 56, 9)
NARROW: Final = Frame("narrow", 350, 300, 48, 4)


def class_of(index: int) -> str:
    """Return the colour class of the system with that index."""
    return f"s{index % COLOR_COUNT}"


def segment_class(name: str, names: Sequence[str]) -> tuple[str, int]:
    """Return colour class and pattern of a segment, the same in every chart of every report."""
    unknown = [other for other in names if other not in _SEGMENT_ORDER]
    place = (
        _SEGMENT_ORDER.index(name)
        if name in _SEGMENT_ORDER
        else len(_SEGMENT_ORDER) + unknown.index(name)
    )
    return f"g{place % COLOR_COUNT}", (place + place // COLOR_COUNT) % _PATTERN_COUNT


# --- pieces ---------------------------------------------------------------------------------------


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _open(
    identity: str, frame_class: str, size: tuple[float, float], words: tuple[str, str]
) -> str:
    title, description = (escape(plain(text)) for text in words)
    return (
        f'<svg class="{frame_class}" viewBox="0 0 {_n(size[0])} {_n(size[1])}" role="img" '
        f'aria-labelledby="{identity}-t {identity}-d"><title id="{identity}-t">{title}</title>'
        f'<desc id="{identity}-d">{description}</desc>'
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "tick") -> str:
    return (
        f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">'
        f"{escape(plain(text))}</text>"
    )


def _line(start: tuple[float, float], end: tuple[float, float], kind: str) -> str:
    return (
        f'<line class="{kind}" x1="{_n(start[0])}" y1="{_n(start[1])}" '
        f'x2="{_n(end[0])}" y2="{_n(end[1])}"/>'
    )


def marker(index: int, x: float, y: float) -> str:
    """Return the marker of a system: its own shape, hollow from the sixth on."""
    r = 3.6
    shapes = (
        f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{r}"/>',
        f'<path d="M{_n(x - r)} {_n(y - r)}h{2 * r}v{2 * r}h-{2 * r}z"/>',
        f'<path d="M{_n(x)} {_n(y - 4.6)}l4.6 8h-9.2z"/>',
        f'<path d="M{_n(x)} {_n(y - 5)}l5 5l-5 5l-5-5z"/>',
        f'<path d="M{_n(x)} {_n(y + 4.6)}l4.6-8h-9.2z"/>',
    )
    kind = "mark" if index < len(shapes) else "mark hollow"
    return f'<g class="{kind}">{shapes[index % len(shapes)]}</g>'


def swatch(index: int) -> str:
    """Return the line and marker of a system, for a legend."""
    return (
        f'<svg class="swatch {class_of(index)}" viewBox="0 0 34 12" aria-hidden="true">'
        f"{_stroke('M1 6H33', index)}{marker(index, 17, 6)}</svg>"
    )


def _stroke(path: str, index: int) -> str:
    dash = _DASHES[index % len(_DASHES)]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path class="curve" d="{path}"{dashed}/>'


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
    pieces = [_open(words.identity, frame.name, size, (words.title, description))]
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
        pieces = [_text(0, 14, vertical, kind="name")]
        for tick in self._qualities.ticks:
            y = self.y(tick.value)
            pieces.append(_line((self._left, y), (self._right, y), "grid"))
            pieces.append(_text(self._left - 9, y + 4.5, tick.label, anchor="end"))
        pieces.append(_line((self._left, self._bottom), (self._right, self._bottom), "axis"))
        for tick in self._times.ticks:
            x = self.x(tick.value)
            pieces.append(_line((x, self._bottom), (x, self._bottom + 5), "axis"))
            pieces.append(_text(x, self._bottom + 20, tick.label, anchor="middle"))
        scale = ", logarithmic" if self._times.log else ""
        pieces.append(
            _text(self._right, self._bottom + 40, horizontal + scale, anchor="end", kind="name")
        )
        return pieces

    def targets(self, curves: Sequence[Curve | StepCurve]) -> list[str]:
        """Return a line per threshold, with its value written on it."""
        metric = curves[0].metric
        pieces = []
        for threshold in dict.fromkeys(c.threshold for c in curves if c.threshold is not None):
            y = self.y(threshold)
            words = f"target {threshold_label(threshold, metric)}"
            pieces.append(_line((self._left, y), (self._right, y), "target"))
            pieces.append(_text(self._left + 8, y - 6, words, kind="target-name"))
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
        path = [f"{_n(x)} {_n(high)}" for x, _, high in ends]
        path += [f"{_n(x)} {_n(low)}" for x, low, _ in reversed(ends)]
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
        path = "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        step = math.ceil(len(points) / 12)
        marks = "".join(marker(index, x, y) for x, y in points[step - 1 :: step])
        return f'<g class="{class_of(index)}">{_stroke(path, index)}{marks}</g>'

    def _drawable(self, time: float, *qualities: float) -> bool:
        finite = all(math.isfinite(value) for value in (time, *qualities))
        return finite and (time > 0 or not self._times.log)


# --- segments of wall time ------------------------------------------------------------------------


def segment_chart(
    bars: Sequence[SegmentBar], labels: Sequence[str], *, frame: Frame, identity: str
) -> str:
    """Return a stacked bar per system on one axis of time; `labels` name the systems."""
    longest = max((sum(bar.seconds.values()) for bar in bars), default=0.0) or 1.0
    axis = duration_axis(longest, frame.ticks)
    row_height, top = 70, 4
    height = top + row_height * len(bars) + 24
    words = [_bar_words(bar, label) for bar, label in zip(bars, labels, strict=True)]
    title = f"Where the wall time went, {bars[0].task}"
    pieces = [_open(identity, frame.name, (frame.width, height), (title, " ".join(words)))]
    pieces.append(_patterns(identity))
    right = frame.width - 14
    for tick in axis.ticks:
        x = 2 + (right - 2) * axis.at(tick.value)
        anchor = "start" if tick.value == 0 else "middle"
        pieces.append(_line((x, top + 20), (x, height - 22), "grid"))
        pieces.append(_text(x, height - 6, tick.label, anchor=anchor))
    names = [name for bar in bars for name in bar.seconds]
    for place, (bar, label) in enumerate(zip(bars, labels, strict=True)):
        y = top + row_height * place
        room = int(frame.width / _LETTER) - 1
        pieces.append(_text(0, y + 14, _shortened(f"{label}, n = {bar.n}", room), kind="name"))
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
        box = f'x="{_n(x)}" y="{_n(y)}" width="{_n(max(width - 1, 0.6))}" height="22"'
        pieces.append(f'<rect class="segment {color}" {box}/>')
        if pattern:
            pieces.append(f'<rect class="hatch" fill="url(#{identity}-p{pattern})" {box}/>')
        words = f"{plain(name)} {duration(length)}"
        if len(words) * _LETTER < width:
            pieces.append(_text(x, y + 37, words))
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
    pieces = [_line((4, y), (width - 4, y), "grid")]
    if low_x is not None and high_x is not None:
        pieces.append(f'<path class="whisker" d="M{_n(low_x)} {y}H{_n(high_x)}"/>')
        pieces += [f'<path class="cap" d="M{_n(end)} 5v8"/>' for end in (low_x, high_x)]
    elif low_x is not None and x is None:
        end = width - 5
        pieces.append(f'<path class="whisker open" d="M{_n(low_x)} {y}H{end}"/>')
        pieces.append(f'<path class="cap" d="M{_n(low_x)} 5v8M{end - 5} 5l5 4l-5 4"/>')
    if x is not None:
        pieces.append(marker(0 if index is None else index, x, y))
    body = "".join(pieces)
    return f'<svg class="whiskers {color}" viewBox="0 0 {width} 18" aria-hidden="true">{body}</svg>'
