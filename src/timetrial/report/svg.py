"""Pieces of inline SVG that all charts are made of: frames, texts, lines, markers, swatches."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Final

from timetrial.report.words import plain

COLOR_COUNT: Final = 8
DASHES: Final = ("", "7 4", "2 3", "9 3 2 3")


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


def px(value: float) -> str:
    """Return a coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def opened(
    identity: str, frame_class: str, size: tuple[float, float], words: tuple[str, str]
) -> str:
    """Return the opening of a chart that is read aloud as its title and description."""
    title, description = (escape(plain(text)) for text in words)
    return (
        f'<svg class="{frame_class}" viewBox="0 0 {px(size[0])} {px(size[1])}" role="img" '
        f'aria-labelledby="{identity}-t {identity}-d"><title id="{identity}-t">{title}</title>'
        f'<desc id="{identity}-d">{description}</desc>'
    )


def text_at(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "tick") -> str:
    """Return a text; its anchor lies at the point."""
    return (
        f'<text class="{kind}" x="{px(x)}" y="{px(y)}" text-anchor="{anchor}">'
        f"{escape(plain(text))}</text>"
    )


def line_at(start: tuple[float, float], end: tuple[float, float], kind: str) -> str:
    """Return a straight line."""
    return (
        f'<line class="{kind}" x1="{px(start[0])}" y1="{px(start[1])}" '
        f'x2="{px(end[0])}" y2="{px(end[1])}"/>'
    )


def marker(index: int, x: float, y: float) -> str:
    """Return the marker of a system: its own shape, hollow from the sixth on."""
    r = 3.6
    shapes = (
        f'<circle cx="{px(x)}" cy="{px(y)}" r="{r}"/>',
        f'<path d="M{px(x - r)} {px(y - r)}h{2 * r}v{2 * r}h-{2 * r}z"/>',
        f'<path d="M{px(x)} {px(y - 4.6)}l4.6 8h-9.2z"/>',
        f'<path d="M{px(x)} {px(y - 5)}l5 5l-5 5l-5-5z"/>',
        f'<path d="M{px(x)} {px(y + 4.6)}l4.6-8h-9.2z"/>',
    )
    kind = "mark" if index < len(shapes) else "mark hollow"
    return f'<g class="{kind}">{shapes[index % len(shapes)]}</g>'


def swatch(index: int) -> str:
    """Return the line and marker of a system, for a legend."""
    return (
        f'<svg class="swatch {class_of(index)}" viewBox="0 0 34 12" aria-hidden="true">'
        f"{stroke('M1 6H33', index)}{marker(index, 17, 6)}</svg>"
    )


def stroke(path: str, index: int) -> str:
    """Return the curve of a system: its own dash."""
    dash = DASHES[index % len(DASHES)]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path class="curve" d="{path}"{dashed}/>'
