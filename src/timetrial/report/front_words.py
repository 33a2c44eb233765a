"""The words of systems by time and cost."""

from __future__ import annotations

from timetrial.report.words import plain
from timetrial.rows import Front, FrontPoint
from timetrial.units import duration, percent, quantity


def point_words(point: FrontPoint, currency: str) -> str:
    """Return time, cost and chance of one system."""
    words = f"{duration(point.time_s)}, {quantity(point.cost, currency)}"
    if point.chance is not None:
        words += f", {percent(point.chance, 0)} to keep the limits"
    return f"{words}, on the front" if point.on_front else words


def front_sentence(front: Front) -> str:
    """Return which system to choose: of the front the surest to keep the limits, else the rest."""
    best = [point for point in front.points if point.on_front]
    chosen = max(best, key=lambda point: (point.chance or 0.0, -point.time_s))
    cost = quantity(chosen.cost, front.currency)
    words = (
        f"{plain(front.title)}: {plain(chosen.system)} is predicted to take "
        f"{duration(chosen.time_s)} and {cost}"
    )
    limits = []
    if front.deadline_s is not None:
        limits.append(f"within {duration(front.deadline_s)}")
    if front.cost_limit is not None:
        limits.append(f"for at most {quantity(front.cost_limit, front.currency)}")
    if limits and chosen.chance is not None:
        words += f"; the chance to be done {' and '.join(limits)} is {percent(chosen.chance, 0)}"
    others = len(front.points) - len(best)
    behind = "" if not others else f", {others} behind it"
    return f"{words}. {len(best)} of {len(front.points)} systems are on the front{behind}."
