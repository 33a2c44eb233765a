"""What a run will take, from how many steps its task needs and how fast a system does them.

Steps to target belong to the closed task: runs of other seeds, on any machine, show their
distribution. Seconds belong to the system: a probe shows them. A run of n steps, evaluated every
g of them, takes

    T = set-up + warm-up + n s + ceil(n / g) e + checkpoints

with s the seconds of a step and e those of an evaluation. An estimate of the next run's T holds
three spreads: that of the steps over seeds; that of short stretches of training, such as a probe,
around the run that they lie in; and that of the machine from one run to the next. A single probe
shows neither of the last two: a machine that others share may be fast or slow for all of it.

Source of the draws: steps by the Bayesian bootstrap (Rubin, Ann. Stat. 9 (1981), 130-134), a draw
of weights and then of a run; speeds as exp of Student's t, the predictive distribution of one more
log-normal value (Aitchison and Dunsmore, Statistical Prediction Analysis (1975), section 2.5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Float

from timetrial.errors import UsageError
from timetrial.spec import Record
from timetrial.stats.intervals import Estimate, check_finite, check_level

DRAWS: Final = 20_000
_DRIFT_MOST: Final = 0.9  # a draw of the machine's factor lies within exp(± this)


class Pace(Record, frozen=True, kw_only=True):
    """How fast a system is at one task; seconds."""

    step_s: float
    eval_s: float  # of one whole evaluation of the evaluated split
    set_up_s: float  # data, network, compilation: once, on the headline clock
    warm_up_s: float = 0.0  # what the first steps take longer
    checkpoint_s: float = 0.0
    start_up_s: float = 0.0  # before the headline clock begins
    after_s: float = 0.0  # after the target: last look at test, last state, end of the process
    relative_error: float = 0.0  # standard error of step_s over step_s, within the probes
    counted_s: float | None = None  # training that step_s is of, all probes together
    probes: int = 1


class Stretch(Record, frozen=True, kw_only=True):
    """How much stretches of so many seconds of training differ from the whole runs they lie in."""

    seconds: float
    sd_log: float  # standard deviation of the logarithm of seconds per step
    runs: int


class Noise(Record, frozen=True, kw_only=True):
    """How much the same work on the same system varies from run to run, and within runs."""

    sd_log: float  # standard deviation of the logarithm of seconds per step, between runs
    degrees: int  # of freedom
    systems: int
    runs: int
    stretches: tuple[Stretch, ...] = ()  # within runs, shortest first; none: not known


class Paced(NamedTuple):
    """Seconds per step that a probe or run found, and how long it trained to find it."""

    step_s: float
    counted_s: float


class Steps(NamedTuple):
    """Steps to a target over seeds; where `reached` is False, the steps done without it."""

    steps: Float[np.ndarray, " runs"]
    reached: Bool[np.ndarray, " runs"]


class Rhythm(NamedTuple):
    """How often a run looks up from training."""

    eval_every_steps: int
    checkpoint_every_s: float


class Forecast(NamedTuple):
    """Draws of the next run; infinite where it does not reach its target."""

    seconds: Float[np.ndarray, " draws"]  # on the headline clock
    billed_s: Float[np.ndarray, " draws"]  # from the start of the command to its end
    step_s: Float[np.ndarray, " draws"]


def draw_steps(
    steps: Steps, generator: np.random.Generator, draws: int = DRAWS
) -> Float[np.ndarray, " draws"]:
    """Return steps of a further run: infinite where the run drawn missed the target.

    Few runs show too little of the distribution's ends. So what was drawn is moved away from the
    mean by what Student's t adds to the normal interval of one more of n + 1 values; with 20 runs
    that is 12 %. Fewer than half of the fewest steps seen are never drawn.

    Raises:
        UsageError: No run.
    """
    n = len(steps.steps)
    if n == 0:
        raise UsageError("No steps to target without a run. Run the task first, with 5 seeds.")
    values = np.where(steps.reached, steps.steps, np.inf)
    if len(np.unique(values)) == 1:
        return np.full(draws, values[0])
    weights = generator.dirichlet(np.ones(n), size=draws)
    places = (weights.cumsum(axis=1) > generator.random((draws, 1))).argmax(axis=1)
    drawn: Float[np.ndarray, " draws"] = values[places]
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        return drawn
    known = len(finite)
    student = scipy.special.stdtrit(known - 1, 0.975) / scipy.special.ndtri(0.975)
    wider = float(student) * math.sqrt((known + 1) / (known - 1))
    centre = finite.mean()
    ends = np.isfinite(drawn)
    drawn[ends] = np.maximum(centre + wider * (drawn[ends] - centre), finite.min() / 2)
    return drawn


def within(noise: Noise, seconds: float) -> float:
    """Return the standard deviation of the logarithm of what a stretch of so many seconds takes.

    Between the lengths measured by interpolation in the logarithm of the length. A shorter one than
    was measured varies as the shortest, a longer one as if its parts were independent.
    """
    if not noise.stretches or seconds <= 0:
        return 0.0
    known = np.array([(one.seconds, one.sd_log) for one in noise.stretches])
    inner = float(np.clip(seconds, known[0, 0], known[-1, 0]))
    found = float(np.interp(math.log(inner), np.log(known[:, 0]), known[:, 1]))
    return found * min(1.0, math.sqrt(inner / seconds))


def draw_factor(
    pace: Pace,
    noise: Noise,
    generator: np.random.Generator,
    draws: int = DRAWS,
    *,
    training_s: float | None = None,
) -> Float[np.ndarray, " draws"]:
    """Return what a further run's seconds per step are times those of the probes.

    `training_s` is how long that run trains: the shorter, the less it evens out.
    """
    between = noise.sd_log * math.sqrt(1 + 1 / pace.probes)
    log = between * generator.standard_t(max(1, noise.degrees), draws)
    probed = max(pace.relative_error, within(noise, pace.counted_s or 0.0))
    ahead = within(noise, training_s or 0.0)
    log += math.hypot(probed, ahead) * generator.standard_normal(draws)
    return np.exp(np.clip(log, -_DRIFT_MOST, _DRIFT_MOST))


def forecast(
    pace: Pace,
    steps: Steps,
    rhythm: Rhythm,
    noise: Noise,
    *,
    exchange_s: Float[np.ndarray, " draws"] | float = 0.0,
    workers: int = 1,
) -> Forecast:
    """Return draws of the next run's seconds.

    `exchange_s` is what a step of `workers` exchanges; computing divides evenly among them, set-up,
    evaluation and checkpoints do not.
    """
    generator = np.random.default_rng(0)
    count = draw_steps(steps, generator)
    usual = float(np.quantile(count, 0.5, method="nearest")) * pace.step_s / workers
    factor = draw_factor(pace, noise, generator, training_s=usual if math.isfinite(usual) else None)
    step_s = pace.step_s / workers * factor + exchange_s
    looks = np.ceil(count / rhythm.eval_every_steps)
    training = pace.warm_up_s / workers + count * step_s + looks * pace.eval_s * factor
    ends = np.isfinite(training)
    due = np.where(ends, training, 0.0) // max(rhythm.checkpoint_every_s, 1e-9)
    saved = np.minimum(due, np.where(ends, looks, 0.0))
    seconds = pace.set_up_s * factor + training + saved * pace.checkpoint_s
    billed = pace.start_up_s * factor + seconds + pace.after_s * factor
    return Forecast(seconds, billed, step_s)


def summarise(
    draws: Float[np.ndarray, " draws"], n: int, *, level: float = 0.95, method: str = "forecast"
) -> Estimate:
    """Return the median of the draws and the interval of the next run; None where infinite."""
    check_level(level)
    ends = np.quantile(draws, [0.5, 0.5 - level / 2, 0.5 + level / 2], method="nearest")
    value, low, high = (float(end) if math.isfinite(end) else None for end in ends)
    return Estimate(value=value, low=low, high=high, n=n, method=method)


def chance(draws: Float[np.ndarray, " draws"], limit: float | None) -> float:
    """Return the share of the draws within the limit, of those that end at all; None: no limit."""
    within = np.isfinite(draws) if limit is None else draws <= limit
    return float(within.mean())


def run_to_run(
    groups: Sequence[Sequence[Paced]], stretches: Sequence[Stretch] = ()
) -> Noise | None:
    """Return the pooled spread of seconds per step within systems; None without two of one.

    Each group holds what probes and runs of one system found. What stretches so long differ by
    within one run is no difference between runs: it is taken off, down to none at all.
    """
    known = [group for group in groups if len(group) > 1]
    if not known:
        return None
    within_runs = Noise(sd_log=0.0, degrees=0, systems=0, runs=0, stretches=tuple(stretches))
    degrees, squares = 0, 0.0
    for group in known:
        values = np.array([one.step_s for one in group])
        check_finite(values, "seconds per step")
        logs = np.log(values)
        own = [within(within_runs, one.counted_s) ** 2 for one in group]
        degrees += len(group) - 1
        squares += float(((logs - logs.mean()) ** 2).sum())
        squares -= (1 - 1 / len(group)) * math.fsum(own)
    return Noise(
        sd_log=math.sqrt(max(0.0, squares) / degrees),
        degrees=degrees,
        systems=len(known),
        runs=sum(map(len, known)),
        stretches=tuple(stretches),
    )


class Score(NamedTuple):
    """How predictions compare with the runs that followed."""

    errors: Float[np.ndarray, " predictions"]  # |predicted / measured - 1|
    half_widths: Float[np.ndarray, " predictions"]  # half the interval over the predicted value
    inside: Bool[np.ndarray, " predictions"]


def score(
    predicted: Float[np.ndarray, " predictions"],
    low: Float[np.ndarray, " predictions"],
    high: Float[np.ndarray, " predictions"],
    measured: Float[np.ndarray, " predictions"],
) -> Score:
    """Return errors, half-widths and whether the interval held what was measured."""
    return Score(
        errors=np.abs(predicted / measured - 1),
        half_widths=(high - low) / 2 / predicted,
        inside=(low <= measured) & (measured <= high),
    )


def median_interval(values: Float[np.ndarray, " values"], level: float = 0.95) -> Estimate:
    """Return the median and its interval between two order statistics, whatever the distribution.

    The ends are None where so few values allow none.

    Source: Thompson, Ann. Math. Stat. 7 (1936), 122-128: binomial counts below the median.
    """
    check_level(level)
    n = len(values)
    method = "median, order statistics"
    if n == 0:
        return Estimate(value=None, low=None, high=None, n=0, method=method)
    ordered = np.sort(values)
    below = int((scipy.special.bdtr(np.arange(n), n, 0.5) < (1 - level) / 2).sum())
    if below < 1:
        return Estimate(value=float(np.median(values)), low=None, high=None, n=n, method=method)
    low, high = float(ordered[below - 1]), float(ordered[n - below])
    return Estimate(value=float(np.median(values)), low=low, high=high, n=n, method=method)
