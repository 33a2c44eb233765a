"""What a task would take elsewhere: convergence x probe x prices, and how good that was.

curves       runs become curves of the convergence library
systems      probes and runs become systems with a pace
predict      one prediction: time and cost of the next run, with 95 % intervals
stored       predictions on disk, and their score against the runs that followed
front        systems by time and cost: the Pareto front, and the chance to keep two limits
"""

from __future__ import annotations

from timetrial.forecast.curves import curves_of, library
from timetrial.forecast.front import Choice, Limits, front_of
from timetrial.forecast.predict import Prediction, Wanted, predict, row_of
from timetrial.forecast.stored import Scored, keep, read_predictions, score_of, scored
from timetrial.forecast.systems import Probed, Spreads, Varies, probed_systems, shipped_probes

__all__ = [
    "Choice",
    "Limits",
    "Prediction",
    "Probed",
    "Scored",
    "Spreads",
    "Varies",
    "Wanted",
    "curves_of",
    "front_of",
    "keep",
    "library",
    "predict",
    "probed_systems",
    "read_predictions",
    "row_of",
    "score_of",
    "scored",
    "shipped_probes",
]
