"""Optuna behind a search: which parameters to try next, which runs to give up.

The only module that imports Optuna, and it does so when a study is opened.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, cast, final

import msgspec

from timetrial.errors import MissingExtraError, UnknownNameError
from timetrial.spec import Value
from timetrial.tune.journal import Journal
from timetrial.tune.settings import Settings, read_settings, refuse_other
from timetrial.tune.space import Parameter, SearchSpace

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages.journal import BaseJournalBackend

State: TypeAlias = Literal["waiting", "running", "finished", "pruned", "failed"]
SAMPLERS: Final = ("cmaes", "gp", "qmc", "random", "tpe")
LEARNING: Final = ("cmaes", "gp", "tpe")  # samplers that propose by what was found so far
PRUNERS: Final = ("capping", "hyperband", "median", "none")
CAPPING: Final = "capping"  # not Optuna's: the session decides it, by the times of other runs
_NEEDS: Final = {  # sampler -> package, its name for people, the extra that brings it
    "cmaes": ("cmaes", "cmaes", "tune"),
    "gp": ("torch", "PyTorch", "torch"),
}
_STARTUP: Final = 5  # runs that are never given up: there is little to compare with
_COMPARED: Final = 3  # other runs that must be known at a tick before one is given up at it
_FACTOR: Final = 3  # of hyperband: one in so many goes on; its authors' usual one
_ONE_MINUS: Final = "1 - "
_SETTINGS: Final = "search"  # key of the study's attribute


class Trial(NamedTuple):
    """One point that was tried, or is to be; `run` is the name of its run directory."""

    number: int
    point: Mapping[str, Value]
    state: State
    run: str | None
    again: int | None  # the trial that was cut off and is tried again here
    reference: bool  # the task's own settings
    told: float | None  # the score


def check_names(sampler: str, pruner: str) -> None:
    """Refuse a sampler or pruner that is not offered, or whose package is not installed.

    Raises:
        UnknownNameError: No such sampler or pruner.
        MissingExtraError: Optuna, or what the sampler needs, is not installed.
    """
    if sampler not in SAMPLERS:
        raise UnknownNameError("sampler", sampler, SAMPLERS)
    if pruner not in PRUNERS:
        raise UnknownNameError("pruner", pruner, PRUNERS)
    _optuna()
    needed, what, extra = _NEEDS.get(sampler, ("optuna", "", ""))
    if importlib.util.find_spec(needed) is None:
        raise MissingExtraError(f"{what}, which sampler {sampler} needs,", extra=extra)


def _optuna() -> Any:
    """Return Optuna, which then says errors alone: what goes on is said by us.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("Optuna", extra="tune") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


@final
class Study:
    """The trials of one search; not for several threads at once."""

    def __init__(self, study: optuna.Study, settings: Settings) -> None:
        """Keep what `open_study` made."""
        self._study = study
        self._open: dict[int, optuna.Trial] = {}
        self.settings = settings

    def trials(self) -> list[Trial]:
        """Return all trials, by number."""
        space = self.settings.space
        return [_trial(frozen, space) for frozen in self._study.get_trials(deepcopy=False)]

    def enqueue(
        self, point: Mapping[str, Value], *, again: int | None = None, reference: bool = False
    ) -> None:
        """Have a point tried next: the task's own, or that of a trial that was cut off."""
        parameters = _drawn(self.settings.space, point)
        self._study.enqueue_trial(parameters, user_attrs={"again": again, "reference": reference})

    def ask(self) -> Trial:
        """Return the next point to try."""
        asked = self._study.ask(_distributions(self.settings.space))
        self._open[asked.number] = asked
        return next(trial for trial in self.trials() if trial.number == asked.number)

    def note_run(self, number: int, run: str) -> None:
        """Keep the name of the run directory of a trial that was asked for."""
        self._open[number].set_user_attr("run", run)

    def report(self, number: int, told: Mapping[int, float]) -> None:
        """Tell how a run stood at some ticks; each tick once."""
        for tick, value in sorted(told.items()):
            self._open[number].report(value, tick)

    def is_hopeless(self, number: int) -> bool:
        """Return whether the pruner would give the run up, by what was told of it last."""
        return self._open[number].should_prune()

    def finish(self, number: int, score: float | None, *, pruned: bool = False) -> None:
        """End a trial: with its score, as pruned, or with neither as failed."""
        states = _optuna().trial.TrialState
        if score is not None:
            self._study.tell(number, score)
        else:
            self._study.tell(number, state=states.PRUNED if pruned else states.FAIL)
        self._open.pop(number, None)

    def kept(self, key: str) -> Any:
        """Return what was kept under `key`, as JSON; None where nothing was."""
        return self._study.user_attrs.get(key)

    def keep(self, key: str, content: Any) -> None:
        """Keep something under `key`."""
        self._study.set_user_attr(key, content)

    def keys(self, start: str) -> list[str]:
        """Return the keys under which something was kept that begin with `start`."""
        return [key for key in self._study.user_attrs if key.startswith(start)]

    def importances(self) -> dict[str, float]:
        """Return how much of what varies each rule decides, by PED-ANOVA; {} with too few trials.

        Source: Watanabe, Bansal and Hutter, PED-ANOVA, IJCAI 2023, as in Optuna.
        """
        optuna = _optuna()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Optuna calls experimental
            try:
                found = optuna.importance.get_param_importances(
                    self._study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
                )
            except (RuntimeError, ValueError):  # too few trials, or all alike
                return {}
        return {name.removeprefix(_ONE_MINUS): share for name, share in found.items()}


def open_study(journal: Journal, asked: Settings, *, horizon: int, where: str, name: str) -> Study:
    """Return the study that a journal holds, or a new one.

    `horizon` is how many ticks a run of the task has at most.

    Raises:
        UsageError: The journal's search was begun with other settings.
        FormatError: The journal is damaged, or of a newer version.
        MissingExtraError: Optuna is not installed.
    """
    optuna = _optuna()
    storage = optuna.storages.JournalStorage(cast("BaseJournalBackend", journal))
    direction = "maximize" if asked.objective.larger_is_better else "minimize"
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        direction=direction,
        load_if_exists=True,
        sampler=optuna.samplers.RandomSampler(),  # set below, once the settings are known
        pruner=optuna.pruners.NopPruner(),
    )
    kept = study.user_attrs.get(_SETTINGS)
    if kept is None:
        study.set_user_attr(_SETTINGS, msgspec.to_builtins(asked))
        settings = asked
    else:
        settings = read_settings(kept, where)
        refuse_other(settings, asked, name)
    study.sampler = _sampler(settings, len(study.get_trials(deepcopy=False)))
    study.pruner = _pruner(settings.pruner, horizon)
    return Study(study, settings)


def _trial(frozen: optuna.trial.FrozenTrial, space: SearchSpace) -> Trial:
    states: dict[str, State] = {
        "WAITING": "waiting", "RUNNING": "running", "COMPLETE": "finished", "PRUNED": "pruned",
        "FAIL": "failed",
    }  # fmt: skip
    state = states[frozen.state.name]
    attributes = frozen.user_attrs
    return Trial(
        number=frozen.number,
        point=_rules(space, frozen.params),
        state=state,
        run=attributes.get("run"),
        again=attributes.get("again"),
        reference=bool(attributes.get("reference")),
        told=frozen.value if state == "finished" else None,
    )


# --- Optuna's terms ------------------------------------------------------------------------------


def _distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    return {_name(name, one): _distribution(one) for name, one in space.chosen.items()}


def _name(name: str, one: Parameter) -> str:
    return f"{_ONE_MINUS}{name}" if one.scale == "log-one-minus" else name


def _distribution(one: Parameter) -> BaseDistribution:
    kinds = _optuna().distributions
    if one.choices:
        return cast("BaseDistribution", kinds.CategoricalDistribution(one.choices))
    low, high = one.low, one.high
    assert low is not None
    assert high is not None
    if one.scale == "log-one-minus":
        return cast("BaseDistribution", kinds.FloatDistribution(1 - high, 1 - low, log=True))
    kind = kinds.IntDistribution if isinstance(low, int) and isinstance(high, int) else None
    made = (kind or kinds.FloatDistribution)(low, high, log=one.scale == "log")
    return cast("BaseDistribution", made)


def _drawn(space: SearchSpace, point: Mapping[str, Value]) -> dict[str, Value]:
    """Return a point in Optuna's terms."""
    chosen = space.chosen
    return {
        _name(name, chosen[name]): 1 - value if chosen[name].scale == "log-one-minus" else value
        for name, value in point.items()
    }


def _rules(space: SearchSpace, parameters: Mapping[str, Value]) -> dict[str, Value]:
    """Return a point in the terms of the rules."""
    found: dict[str, Value] = {}
    for name, one in space.chosen.items():
        value = parameters.get(_name(name, one))
        if value is not None:
            found[name] = 1 - value if one.scale == "log-one-minus" else value
    return found


def _sampler(settings: Settings, trials: int) -> BaseSampler:
    """Return the sampler of a search that has so many trials already.

    A sampler that draws anew where a search goes on must not draw the same numbers again; the
    quasi-random one counts by itself, and must keep its seed.
    """
    kinds = _optuna().samplers
    seed = (settings.seed + trials) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Optuna calls experimental
        made: object
        match settings.sampler:
            case "cmaes":
                made = kinds.CmaEsSampler(seed=seed)
            case "gp":
                made = kinds.GPSampler(seed=seed, deterministic_objective=False)
            case "qmc":
                made = kinds.QMCSampler(qmc_type="halton", scramble=True, seed=settings.seed)
            case "random":
                made = kinds.RandomSampler(seed=seed)
            case _:
                made = kinds.TPESampler(seed=seed)
    return cast("BaseSampler", made)


def _pruner(name: str, horizon: int) -> BasePruner:
    kinds = _optuna().pruners
    made: object
    match name:
        case "median":
            made = kinds.MedianPruner(
                n_startup_trials=_STARTUP,
                n_warmup_steps=max(1, horizon // 8),
                n_min_trials=_COMPARED,
            )
        case "hyperband":
            made = kinds.HyperbandPruner(
                min_resource=1, max_resource=max(horizon, 1), reduction_factor=_FACTOR
            )
        case _:
            made = kinds.NopPruner()
    return cast("BasePruner", made)
