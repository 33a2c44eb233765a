"""The tables of the page: estimates, measures, clocks, segments, runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Final

from timetrial.report.arrange import Line, Section, SystemKey, Systems, row_key
from timetrial.report.charts import segment_swatch, whisker
from timetrial.report.words import (
    ABSENT,
    UNKNOWN,
    clock_rule,
    interval_text,
    is_lower_bound,
    known,
    optional,
    plain,
    quality_number,
    quality_text,
    sentence,
    status_text,
    target_label,
    unique,
    value_text,
)
from timetrial.rows import Row, RunLine, SegmentBar
from timetrial.units import duration

_LINK: Final = re.compile(r"(https://[^\s<>\"'`]+[^\s<>\"'`.,;:)\]])")


def text(raw: str) -> str:
    """Return text from outside, safe between tags and in a quoted attribute."""
    return escape(plain(raw))


def linked(raw: str) -> str:
    """Return text from outside with its https addresses as links."""
    pieces = _LINK.split(plain(raw))
    return "".join(
        f'<a href="{escape(piece)}" rel="noreferrer">{escape(piece)}</a>'
        if place % 2
        else escape(piece)
        for place, piece in enumerate(pieces)
    )


def scroll(identity: str, caption: str, table: str, *, aside: str = "", kind: str = "") -> str:
    """Return a table with a caption, inside a region of its own that scrolls when too narrow.

    The heading of its section, "<first part of identity>-h", and its caption name the region.
    """
    heading = f"{identity.partition('-')[0]}-h"
    detail = f'<span class="aside">{aside}</span>' if aside else ""
    kinds = f' class="{kind}"' if kind else ""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{heading} {identity}-c">'
        f'<table{kinds}><caption><span id="{identity}-c">{caption}</span>{detail}</caption>'
        f"{table}</table></div>"
    )


def head(cells: Sequence[tuple[str, bool]]) -> str:
    """Return the head of a table: each heading, and whether its column holds numbers."""
    row = "".join(
        f'<th scope="col" class="number">{cell}</th>' if numeric else f'<th scope="col">{cell}</th>'
        for cell, numeric in cells
    )
    return f"<thead><tr>{row}</tr></thead>"


class SectionTables:
    """The tables of one section; `identity` begins every id in them."""

    def __init__(self, section: Section, systems: Systems, identity: str) -> None:
        """Keep what the tables are made of."""
        self._section = section
        self._systems = systems
        self._identity = identity

    # --- time to target ---------------------------------------------------------------------------

    def headline(self) -> str:
        """Return the table of time to target, or "" where there is no such row."""
        rows = self._section.headline
        if not rows:
            return ""
        several = len(self._section.targets) > 1
        ends = [end for row in rows for end in (row.value, row.low, row.high)]
        high = max((end for end in ends if end is not None and known(end)), default=0.0)
        cells = [("System", False), *([("Target", False)] if several else [])]
        cells += [("Time to target", True), ("n", True), (self._scale_words(rows, high), False)]
        cells += [("Runs", False), ("Origin", False)]
        body = "".join(self._headline_row(row, high, several=several) for row in rows)
        aside = self._headline_words()
        return scroll(
            f"{self._identity}-time",
            self._headline_caption(),
            f"{head(cells)}<tbody>{body}</tbody>",
            aside=aside,
        )

    def _headline_caption(self) -> str:
        targets = self._section.targets
        goal = target_label(targets[0]) if len(targets) == 1 else "target"
        return text(f"Time to {goal}")

    def _headline_words(self) -> str:
        clock = self._section.clock
        if clock is None:
            return ""
        rule = clock_rule(clock)
        return text(f"{clock} clock: {rule}." if rule else f"{clock} clock.")

    def _scale_words(self, rows: Sequence[Row], high: float) -> str:
        unit = rows[0].unit
        return text(f"0 to {optional(high, unit)}") if high > 0 else "Interval"

    def _headline_row(self, row: Row, high: float, *, several: bool) -> str:
        key = row_key(row)
        label = self._systems.labels[key]
        full = plain(row.system)
        detail = f'<span class="detail">{escape(full)}</span>' if full != label else ""
        target = f"<td>{text(target_label(row.target) if row.target else ABSENT)}</td>"
        return (
            f'<tr><th scope="row">{escape(label)}{self.marks([row])}{detail}</th>'
            f"{target if several else ''}"
            f'<td class="number">{_estimate(row)}</td><td class="number">{row.n}</td>'
            f"<td>{whisker(row, high, self._index(key)) if high > 0 else ABSENT}</td>"
            f'<td class="statuses">{text(status_text(row.status_counts) or ABSENT)}</td>'
            f'<td class="origin">{_origin(row)}</td></tr>'
        )

    def _index(self, key: SystemKey) -> int | None:
        same = SystemKey(key.framework, key.system, "measured")
        if key.origin != "measured" or same not in self._systems.labels:
            return None
        return self._systems.index(key.framework, key.system)

    def marks(self, rows: Sequence[Row]) -> str:
        """Return links to the footnotes of these rows."""
        marks = [
            f'<a href="#{self._identity}-n{number}" aria-label="note {number}">{number}</a>'
            for number in self._section.marks(rows)
        ]
        return f"<sup>{' '.join(marks)}</sup>" if marks else ""

    # --- measures and clocks ----------------------------------------------------------------------

    def measures(self) -> str:
        """Return the table of all other measures, grouped; "" where there is none."""
        lines = self._section.measures
        if not lines:
            return ""
        keys = self._keys(lines)
        bodies = []
        for group in unique(line.group for line in lines):
            heading = f'<th class="group" scope="rowgroup" colspan="{len(keys) + 1}">{group}</th>'
            inside = [line for line in lines if line.group == group]
            rows = "".join(self._line(line, keys, sentence(text(line.label))) for line in inside)
            bodies.append(f'<tbody class="grouped"><tr>{heading}</tr>{rows}</tbody>')
        table = self._system_head("Measure", keys) + "".join(bodies)
        return scroll(f"{self._identity}-measures", "Other measures", table, kind="measures")

    def clocks(self) -> str:
        """Return the table of time to target by every other clock; "" where there is none."""
        lines = self._section.clocks
        if not lines:
            return ""
        keys = self._keys(lines)
        rows = "".join(self._line(line, keys, _clock_words(line)) for line in lines)
        table = f"{self._system_head('Clock', keys)}<tbody>{rows}</tbody>"
        aside = "The same runs, read by the rules of other benchmarks."
        return scroll(
            f"{self._identity}-clocks", "Time to target by other clocks", table, aside=aside
        )

    def _keys(self, lines: Sequence[Line]) -> list[SystemKey]:
        return [key for key in self._section.systems if any(key in line.cells for line in lines)]

    def _system_head(self, first: str, keys: Sequence[SystemKey]) -> str:
        cells = [(first, False)]
        for key in keys:
            origin = "" if key.origin == "measured" else f'<span class="detail">{key.origin}</span>'
            cells.append((escape(self._systems.labels[key]) + origin, True))
        return head(cells)

    def _line(self, line: Line, keys: Sequence[SystemKey], label: str) -> str:
        cells = "".join(f'<td class="number">{self._cell(line, key)}</td>' for key in keys)
        return f'<tr><th scope="row">{label}</th>{cells}</tr>'

    def _cell(self, line: Line, key: SystemKey) -> str:
        rows = line.cells.get(key, ())
        return "".join(_estimate(row, self.marks([row]), counted=True) for row in rows) or ABSENT

    # --- segments ---------------------------------------------------------------------------------

    def segments(self, bars: Sequence[SegmentBar], labels: Sequence[str]) -> str:
        """Return the seconds of every segment as a table, with the colours of the chart."""
        names = unique(name for bar in bars for name in bar.seconds)
        rows: list[str] = []
        for name in names:
            chip = segment_swatch(name, names, f"{self._identity}-x{len(rows)}")
            cells = "".join(
                f'<td class="number">{_seconds(bar.seconds.get(name))}</td>' for bar in bars
            )
            rows.append(f'<tr><th scope="row">{chip}{text(name)}</th>{cells}</tr>')
        counted = [
            f'{text(label)}<span class="detail">n = {bar.n}</span>'
            for label, bar in zip(labels, bars, strict=True)
        ]
        heading = head([("Segment", False), *((cell, True) for cell in counted)])
        table = f"{heading}<tbody>{''.join(rows)}</tbody>"
        return scroll(f"{self._identity}-segments", "Mean seconds per segment", table)


def _seconds(value: float | None) -> str:
    return ABSENT if value is None else escape(duration(value))


def _clock_words(line: Line) -> str:
    rule = clock_rule(line.label)
    detail = f'<span class="detail">{text(rule)}</span>' if rule else ""
    return f"{text(line.label)}{detail}"


def _estimate(row: Row, marks: str = "", *, counted: bool = False) -> str:
    interval = interval_text(row)
    details = [f"({interval})" if is_lower_bound(row) else interval]
    details += [f"n = {row.n}"] if counted else []
    words = ", ".join(escape(detail) for detail in details if detail)
    detail = f'<span class="detail">{words}</span>' if words else ""
    return f'<span class="value">{escape(value_text(row))}</span>{marks}{detail}'


def _origin(row: Row) -> str:
    details = [] if row.origin == "measured" else [linked(row.source)]
    details += [text(row.date)]
    if row.origin != "measured":
        details += [linked(item) for item in row.evidence if item.startswith("https://")]
    return f"<b>{row.origin}</b> {', '.join(detail for detail in details if detail)}"


def runs_table(runs: Sequence[RunLine], systems: Systems) -> str:
    """Return the list of runs, a line each."""
    kinds = unique(plain(run.quality_label) for run in runs if run.quality_label)
    quality = f"Last {escape(kinds[0])}" if len(kinds) == 1 else "Last quality"
    folders = unique(_folder(run) for run in runs)
    cells = ["Run", "Task", "System", "Seed", "Status"]
    numbers = ["Wall", "Time to target", quality]
    body = "".join(
        _run(run, systems, named=len(kinds) > 1, placed=len(folders) > 1) for run in runs
    )
    heading = head([*((cell, False) for cell in cells), *((cell, True) for cell in numbers)])
    aside = f"Directories in {escape(folders[0])}" if len(folders) == 1 else ""
    table = f"{heading}<tbody>{body}</tbody>"
    return scroll("runs-list", f"{len(runs)} runs", table, aside=aside, kind="sortable")


def _folder(run: RunLine) -> str:
    """Return the folder that holds the run's directory; all of it where it has another name."""
    directory = plain(run.directory)
    return directory.removesuffix(plain(run.run)) or "."


def _run(run: RunLine, systems: Systems, *, named: bool, placed: bool) -> str:
    folder = f'<span class="detail">{escape(_folder(run))}</span>' if placed else ""
    missed = "" if run.status == "reached" else ' class="missed"'
    quality = quality_text(run) if named else quality_number(run)
    return (
        f'<tr><th scope="row" class="path">{text(run.run)}{folder}</th><td>{text(run.task)}</td>'
        f"<td>{escape(systems.label(run.framework, run.system))}</td>"
        f"<td>{run.seed}</td><td{missed}>{text(run.status.replace('_', ' '))}</td>"
        f"{_sorted_cell(run.wall_s)}{_sorted_cell(run.time_to_target_s)}"
        f'<td class="number" data-value="{"" if run.quality is None else run.quality}">'
        f"{escape(quality)}</td></tr>"
    )


def _sorted_cell(seconds: float | None) -> str:
    if seconds is None:
        return f'<td class="number" data-value="">{UNKNOWN}</td>'
    return f'<td class="number" data-value="{seconds}">{escape(duration(seconds))}</td>'
