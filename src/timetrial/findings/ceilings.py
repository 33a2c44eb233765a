"""What a machine's ceilings say: their rows, and their line in the table of document 002."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from timetrial import machine, references, units
from timetrial.machine.ceilings import MATMULS, UNITS, Ceiling, Ceilings, Missing
from timetrial.rows import Row, Table, TableColumn, TableLine

SUBJECT: Final = "machine"  # in the place of a task
_NONE: Final = "none"
_FILE: Final = "machines.toml"
_SHORT: Final = {precision: name.removeprefix("matmul_") for name, precision in MATMULS.items()}
_HALF: Final = ("matmul_bf16", "matmul_fp16", "matmul_tf32")


def ceiling_rows(found: Ceilings) -> list[Row]:
    """Return a row per ceiling, then one without a value per ceiling that is missing.

    `facts` hold size, how it was measured, the median of the rounds and the theoretical figure in
    the row's unit, its derivation and the share of it that was reached.
    """
    rows = [_row_of(found, ceiling) for ceiling in found.ceilings]
    return rows + [_row_without(found, missing) for missing in found.missing]


def _row_of(found: Ceilings, ceiling: Ceiling) -> Row:
    facts = {
        "size": ceiling.size,
        "how": ceiling.how,
        "derivation": ceiling.derivation,
    }
    if ceiling.median is not None:
        facts["median"] = repr(ceiling.median)
    notes = []
    if ceiling.theoretical is not None:
        share = ceiling.value / ceiling.theoretical
        facts |= {"theoretical": repr(ceiling.theoretical), "share": repr(share)}
        if share > 1:
            notes.append(
                "more than the theoretical figure: the processor runs faster than the frequency "
                "that it was derived from, or has more units"
            )
    return _row(
        found,
        ceiling,
        precision=ceiling.precision,
        workers=ceiling.workers,
        value=ceiling.value,
        low=ceiling.low,
        high=ceiling.high,
        n=ceiling.n,
        notes=notes,
        facts=facts,
    )


def _row_without(found: Ceilings, missing: Missing) -> Row:
    return _row(
        found,
        missing,
        precision=MATMULS.get(missing.measure, _NONE),
        workers=1,
        value=None,
        low=None,
        high=None,
        n=0,
        notes=[f"not measured: {missing.why}"],
        facts={},
    )


def _row(
    found: Ceilings,
    what: Ceiling | Missing,
    *,
    precision: str,
    workers: int,
    value: float | None,
    low: float | None,
    high: float | None,
    n: int,
    notes: list[str],
    facts: dict[str, str],
) -> Row:
    library = _NONE if what.measure == "disk_read" else _library(found)
    software = None if library == _NONE else f"{library} {found.software.get(library, '')}".strip()
    light = ["light: fewer measures, in less time"] if found.light else []
    busy = [f"busy machine: {found.busy}"] if found.busy else []
    return Row(
        task=SUBJECT,
        target=None,
        split=None,
        clock=None,
        dataset=_NONE,
        division=_NONE,
        framework=library,
        device=what.device,
        cores=what.cores,
        precision=precision,
        workers=workers,
        launcher="local",
        network=None,
        system=machine.system_name(found, cores=what.cores, device=what.device, software=software),
        measure=what.measure,
        value=value,
        low=low,
        high=high,
        n=n,
        unit=UNITS[what.measure],
        origin="measured",
        source=f"timetrial {found.timetrial}",
        date=found.measured_utc[:10],
        status_counts={},
        notes=[*notes, *light, *busy],
        evidence=[],
        facts=facts,
    )


def _library(found: Ceilings) -> str:
    return "torch" if "torch" in found.software else "numpy"


# --- the table of document 002 --------------------------------------------------------------------


def hardware_table(found: Ceilings) -> Table:
    """Return this machine's lines in the columns of document 002's table, above its own lines."""
    published: dict[str, list[Row]] = {}
    for row in references.published(SUBJECT):
        published.setdefault(row.facts["line"], []).append(row)
    flaws = references.flaws_of(_FILE)
    return Table(
        suite="document 002",
        title="CPU, GPU and TPU, with this machine",
        columns=[
            TableColumn(name="platform", heading="Platform", text=True),
            TableColumn(name="unit", heading="Unit", text=True),
            TableColumn(name="memory_type", heading="Memory type", text=True),
            TableColumn(name="memory", heading="Memory"),
            TableColumn(
                name="bandwidth",
                heading="Memory bandwidth",
                about="here of the triad a = b + s c, all threads, 24 bytes an element",
            ),
            TableColumn(name="peak", heading="Peak FLOPS", about="here of a matrix product"),
            TableColumn(name="precision", heading="Precision"),
        ],
        lines=[*_own_lines(found), *(_published_line(rows, flaws) for rows in published.values())],
        notes=list(flaws),
    )


def _own_lines(found: Ceilings) -> list[TableLine]:
    """Return fp32, and the fastest shorter floating point, of the CPU and of each GPU."""
    rows = {
        (row.device, row.measure, row.cores): row
        for row in ceiling_rows(found)
        if row.value is not None
    }
    lines = []
    for device in dict.fromkeys(ceiling.device for ceiling in found.ceilings):
        shorter = [c for name in _HALF if (c := found.find(name, device)) is not None]
        best = max(shorter, key=lambda c: c.value, default=None)
        bandwidth = found.find("memory_triad", device)
        for peak in (found.find("matmul_fp32", device), best):
            if peak is None:
                continue
            cells: dict[str, Row | str] = {
                **_described(found, device, peak.cores),
                "peak": rows[device, peak.measure, peak.cores],
                "precision": _SHORT[peak.precision],
            }
            if bandwidth is not None:
                cells["bandwidth"] = rows[device, bandwidth.measure, bandwidth.cores]
            lines.append(
                TableLine(
                    group="measured here",
                    origin="measured",
                    date=found.measured_utc[:10],
                    source=f"timetrial {found.timetrial}",
                    n=peak.n,
                    cells=cells,
                )
            )
    return lines


def _described(found: Ceilings, device: str, cores: int | None) -> dict[str, str]:
    if device == "cpu":
        kind = "1 VM" if found.virtualisation.hypervisor else "1 machine"
        size = min(found.memory.total_bytes, found.memory.limit_bytes or found.memory.total_bytes)
        name = machine.system_name(found, cores=cores)
        unit, kind_of_memory = f"{kind}, {name}", "memory type not told"
    else:
        index = int(device.partition(":")[2] or 0)
        known = found.accelerators[index] if index < len(found.accelerators) else None
        size = known.memory_bytes or 0 if known else 0
        unit = (known.name if known else None) or "unnamed"
        kind_of_memory = "memory type not told"
    cells = {
        "platform": "CPU" if device == "cpu" else f"GPU ({device})",
        "unit": unit,
        "memory_type": kind_of_memory,
    }
    if size:
        cells["memory"] = units.quantity(size, "B")
    return cells


def _published_line(rows: Sequence[Row], flaws: Sequence[str]) -> TableLine:
    first = rows[0]
    cells: dict[str, Row | str] = {
        name: first.facts[name] for name in ("platform", "unit", "memory_type", "memory")
    }
    columns = {"memory_bandwidth": "bandwidth", "peak_flops": "peak"}
    cells |= {columns[row.measure]: row for row in rows}
    cells["precision"] = _SHORT[first.precision]
    return TableLine(
        group="published",
        origin="published",
        date=first.date,
        source=first.source,
        n=None,
        cells=cells,
        notes=[note for note in first.notes if note not in flaws],
        evidence=first.evidence,
    )
