"""Runs read back, and what can be said of them: rows, verdicts, figures, pages."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

import msgspec

from timetrial import findings, report
from timetrial.errors import MissingExtraError
from timetrial.rows import Findings, Row, Table, Verdict
from timetrial.rundir import write_atomically
from timetrial.store import RunRecord
from timetrial.suites.tables import tables_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Rows(Sequence[Row]):
    """Rows as a sequence, for notebooks."""

    def __init__(self, rows: Sequence[Row]) -> None:
        """Keep the rows."""
        self._rows = list(rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Rows: ...

    def __getitem__(self, index: int | slice) -> Row | Rows:
        """Return a row, or some of them."""
        return Rows(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def to_pandas(self) -> pd.DataFrame:
        """Return a data frame with a column per field of `Row`.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("pandas", extra="notebook") from error
        return pd.DataFrame(
            [msgspec.structs.asdict(row) for row in self._rows],
            columns=list(Row.__struct_fields__),
        )

    def _repr_html_(self) -> str:
        return str(self.to_pandas().to_html())


class Runs(Sequence[RunRecord]):
    """Runs read back, and what can be said of them."""

    def __init__(self, records: Sequence[RunRecord], *, command: str = "") -> None:
        """Keep the records."""
        self._records = list(records)
        self._command = command

    @overload
    def __getitem__(self, index: int) -> RunRecord: ...

    @overload
    def __getitem__(self, index: slice) -> Runs: ...

    def __getitem__(self, index: int | slice) -> RunRecord | Runs:
        """Return a run, or some of them."""
        if isinstance(index, slice):
            return Runs(self._records[index], command=self._command)
        return self._records[index]

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self._records)

    def findings(self, *, title: str = "timetrial", after_s: Sequence[float] = ()) -> Findings:
        """Return rows, curves, verdicts and facts of these runs."""
        command = self._command or repeat_command(self._records)
        found = findings.assemble(self._records, title=title, command=command, after_s=after_s)
        tables, notes = tables_of(self._records)
        rows = [*found.rows, *_further_rows(found.rows, tables)]
        notes = [*found.notes, *notes]
        return msgspec.structs.replace(found, rows=rows, tables=tables, notes=notes)

    def estimates(self, *, after_s: Sequence[float] = ()) -> Rows:
        """Return the rows: every measure of every system with its interval and n.

        `after_s` asks for the metric after these times in seconds.
        """
        return Rows(self.findings(after_s=after_s).rows)

    def verdicts(self) -> Sequence[Verdict]:
        """Return the comparison of the two systems of each task that has exactly two."""
        return self.findings().verdicts

    def plot(self) -> Figure:
        """Return a matplotlib figure: quality against time with a band per system.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        return report.figure(self.findings())

    def report(self, path: str | Path, *, title: str = "timetrial") -> Path:
        """Write one offline HTML page; return its path.

        Raises:
            DiskError, StoreError: It cannot be written.
        """
        target = Path(path)
        write_atomically(target, report.render_html(self.findings(title=title)).encode())
        return target


def _further_rows(rows: Sequence[Row], tables: Sequence[Table]) -> list[Row]:
    """Return the measured rows that only the tables have, so that JSON and CSV have them too."""
    known = {_identity(row) for row in rows}
    further: list[Row] = []
    for cell in (cell for t in tables for line in t.lines for cell in line.cells.values()):
        if isinstance(cell, Row) and cell.origin == "measured" and _identity(cell) not in known:
            known.add(_identity(cell))
            further.append(cell)
    return further


def _identity(row: Row) -> tuple[str | None, ...]:
    """Return what a row is an estimate of."""
    names = (row.task, row.framework, row.system, row.measure, row.target, row.split, row.clock)
    return (*names, row.dataset, row.precision, row.division)


def save_tables(found: Findings, folder: str | Path) -> list[Path]:
    """Write the tables of each suite as <suite>.md and <suite>.csv; return the paths.

    Raises:
        DiskError, StoreError: They cannot be written.
    """
    paths: list[Path] = []
    for suite in dict.fromkeys(table.suite for table in found.tables):
        tables = [table for table in found.tables if table.suite == suite]
        texts = {".md": report.tables_markdown(tables), ".csv": report.tables_csv(tables)}
        for ending, text in texts.items():
            paths.append(Path(folder) / f"{suite}{ending}")
            write_atomically(paths[-1], text.encode())
    return paths


def repeat_command(records: Sequence[RunRecord]) -> str:
    """Return the commands that made these runs, one per invocation."""
    commands = dict.fromkeys(shlex.join(record.plan.command) for record in records)
    return "\n".join(commands)
