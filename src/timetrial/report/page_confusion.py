"""Which class was taken for which: a confusion matrix as a shaded table on the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from timetrial.report.page_tables import head, scroll, text
from timetrial.rows import Confusion

SHADES: Final = 10  # of page.css, beside none


def confusion_body(found: Confusion, label: str, identity: str) -> str:
    """Return the table of one system: a row per true class, the shares of what it was taken for.

    A share that rounds to 0 % is left empty where it is 0 and "< 1" where it is not.
    """
    cells = [("True class", False), *((text(name), True) for name in found.classes)]
    rows = "".join(
        _row(name, counts, place)
        for place, (name, counts) in enumerate(zip(found.classes, found.counts, strict=True))
    )
    return scroll(
        f"{identity}-confusion",
        f"Which class was taken for which: {text(label)}",
        f"{head(cells)}<tbody>{rows}</tbody>",
        aside=f"Percent of a class's {found.split} images, over n = {found.n} "
        f"{'run' if found.n == 1 else 'runs'}; a row is a true class, a column what it was taken "
        "for; right ones are framed.",
        kind="confusion",
    )


def _row(name: str, counts: Sequence[int], place: int) -> str:
    whole = sum(counts)
    cells = "".join(
        f'<td class="{_kind(count, whole, right=column == place)}">{_percent(count, whole)}</td>'
        for column, count in enumerate(counts)
    )
    return f'<tr><th scope="row">{text(name)}</th>{cells}</tr>'


def _kind(count: int, whole: int, *, right: bool) -> str:
    shade = round(SHADES * count / whole) if whole else 0
    return f"number q{shade}{' right' if right else ''}"


def _percent(count: int, whole: int) -> str:
    if not count:
        return ""
    share = round(100 * count / whole)
    return str(share) if share else "&lt; 1"
