"""Statistics: arrays in, estimates out. No file is read or written here.

intervals    means, medians and proportions with intervals; censored runs
compare      the ratio of two, with a verdict
sequential   how many runs are enough
noise        A/A calibration of a machine
bands        quality against time over several runs
speedup      what more workers bring, from measured runs
exchanges    what an all-reduce costs: a line fitted to measured times
inference    what calls of a trained model took: percentiles, examples per second
scaling      what a step of several workers will take, predicted
rules        MLPerf's Olympic mean and convergence gate
"""

from __future__ import annotations

from timetrial.stats.bands import Band, band, common_grid
from timetrial.stats.compare import Comparison, compare_means, compare_times
from timetrial.stats.intervals import (
    Estimate,
    mean_interval,
    median_time,
    proportion_interval,
    restricted_mean,
)
from timetrial.stats.noise import Noise, machine_noise, smallest_distinguishable
from timetrial.stats.rules import (
    Gate,
    ReferencePoint,
    convergence_gate,
    interpolate_reference,
    olympic_mean,
    reference_point,
)
from timetrial.stats.sequential import MIN_RUNS, narrow_enough, runs_needed

__all__ = [
    "MIN_RUNS",
    "Band",
    "Comparison",
    "Estimate",
    "Gate",
    "Noise",
    "ReferencePoint",
    "band",
    "common_grid",
    "compare_means",
    "compare_times",
    "convergence_gate",
    "interpolate_reference",
    "machine_noise",
    "mean_interval",
    "median_time",
    "narrow_enough",
    "olympic_mean",
    "proportion_interval",
    "reference_point",
    "restricted_mean",
    "runs_needed",
    "smallest_distinguishable",
]
