"""What a search was begun with: kept in its journal, and the same whenever it goes on."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from timetrial.errors import FormatError, UsageError
from timetrial.plan import Request
from timetrial.spec import MALFORMED, Record, Target
from timetrial.tune.objective import Objective
from timetrial.tune.space import SearchSpace

FORMAT: Final = 1


class Settings(Record, frozen=True, kw_only=True):
    """All that decides what the trials of one search are and how they are scored."""

    format: int = FORMAT
    task: str
    task_hash: str
    objective: Objective
    target: Target  # that of all runs; of accuracy-after: which metric of which split
    space_name: str
    space: SearchSpace
    request: Request  # of the reference: the closed task on the system searched for
    sampler: str
    pruner: str
    seed: int  # of the sampler


def read_settings(content: object, where: str) -> Settings:
    """Return the settings that a journal holds.

    Raises:
        FormatError: Written by a newer version, or damaged.
    """
    number = content.get("format") if isinstance(content, dict) else None
    if isinstance(number, int) and number > FORMAT:
        raise FormatError(
            f"{where} has format {number}; this timetrial reads up to format {FORMAT}. Install a "
            "newer timetrial to go on with this search."
        )
    try:
        return msgspec.convert(content, Settings)
    except MALFORMED as error:
        raise FormatError(
            f"{where} does not hold the settings of a search: {error}. It was damaged; restore it "
            "from a copy, or begin another search with --name."
        ) from error


def refuse_other(begun: Settings, asked: Settings, name: str) -> None:
    """Refuse to go on with a search under other settings: its trials could not be compared.

    Raises:
        UsageError: Names what differs, with both values.
    """
    before, now = _flat(begun), _flat(asked)
    for field in before:
        if before[field] != now[field]:
            raise UsageError(
                f"The search {name} was begun with {field} {_words(before[field])}; now it is "
                f"{_words(now[field])}. Go on with the same options, or begin another search with "
                "--name NAME. --trials, --at-most, --jobs, --leaders, --repeat and --fresh may "
                "change."
            )


def _flat(settings: Settings) -> dict[str, Any]:
    fields = msgspec.structs.asdict(settings)
    request = msgspec.structs.asdict(fields.pop("request"))
    del fields["seed"]
    del fields["format"]
    fields["objective"] = str(fields["objective"])
    fields["target"] = str(fields["target"])
    return {**fields, **{key: value for key, value in request.items() if key not in fields}}


def _words(value: object) -> str:
    if isinstance(value, SearchSpace):
        return f"{value.title!r} with {', '.join(value.parameters)}"
    return "none" if value is None else str(value)
