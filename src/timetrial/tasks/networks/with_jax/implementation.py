"""The timed implementation: its state, its mini-batches, and how a step of them is made."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np
import optax
from jax import numpy as jnp

from timetrial.engine import checkpoint
from timetrial.frameworks.jax import find_device, set_precision
from timetrial.spec import Lap, Probe, Split, SplitName, Workload
from timetrial.tasks.networks import PREDICT_BATCH, is_statistic, rules_of
from timetrial.tasks.networks.batches import (
    Draws,
    augmented,
    centred,
    draw,
    position,
    scale_and_offset,
    test_masks,
)
from timetrial.tasks.networks.schedules import Plateau, learning_rate
from timetrial.tasks.networks.shards import part_of
from timetrial.tasks.networks.weights import initial_variables
from timetrial.tasks.networks.with_jax import programs
from timetrial.tasks.networks.with_jax.model import Chain, named, tree_of
from timetrial.tasks.networks.with_jax.programs import Batch, Held, Rules, Seen, optimizer_of
from timetrial.tasks.networks.with_jax.together import step_of


class JaxNetwork:
    """The timed implementation."""

    predict_batch = PREDICT_BATCH

    def __init__(self, work: Workload, splits: Mapping[SplitName, Split], lap: Lap) -> None:
        """Build the weights from the seed and put them on the device."""
        set_precision(work.precision)
        self._task = work.task
        self._rules = rules_of(work.task)
        self._seed = work.seed
        self._lap = lap
        self._device = find_device(work.device)
        kind = np.dtype("float64" if work.precision == "float64" else "float32")
        self._dtype = kind
        assert hasattr(work.task.model, "layers")
        scale, offset = (tuple(part.tolist()) for part in scale_and_offset(work.task))
        chain = Chain(work.task.model.layers, jnp.dtype(work.precision), kind)
        self._programs = programs.programs_of(
            Rules(chain, self._rules.optimizer, scale, offset, work.task.class_weights)
        )
        self._rank, self._workers = work.rank, work.workers
        self._way = step_of(work, self._programs, self._device, lap)
        self._splits = splits
        self._inputs = centred(work.task, splits["train"].inputs)
        self._labels = splits["train"].labels.astype(np.int32)
        self._placed: dict[str, list[Seen]] = {}
        values = initial_variables(work.task, work.seed)
        self._names = list(values)
        velocity = {n: np.zeros(v.shape) for n, v in values.items() if not is_statistic(n)}
        self._held = self._placed_state(values, velocity)
        self._plateau = Plateau(self._rules.optimizer)
        self._draws: Draws | None = None
        self._step = 0

    def compile(self) -> None:
        """Compile the programs of full and last batches, and of prediction in worker 0."""
        for step in (0, self._task.steps_per_epoch - 1):
            self._way.compile(self._held, self._part(step), self._longer(step))
        if self._rank:
            return  # worker 0 alone evaluates
        held = self._way.own(self._held)
        for name in {self._task.eval_split, "test"}:
            parts = self._parts(self._splits[name])
            for part in (parts[0], parts[-1]):
                self._programs.of(programs.score, held, part)

    def advance(self, steps: int) -> None:
        """Train for `steps` mini-batches."""
        for _ in range(steps):
            batch = self._part(self._step)
            self._lap("data")
            self._held = self._way.run(self._held, batch, self._longer(self._step))
            self._step += 1
        jax.block_until_ready(self._held)

    def predict(self, inputs: np.ndarray | Split) -> np.ndarray:
        """Return scores, shape (examples, classes); a split stays on the device once seen."""
        parts = self._parts(inputs) if isinstance(inputs, Split) else self._cut(inputs)
        return self._scores(parts)

    def predict_with_dropout(self, split: Split) -> np.ndarray:
        """Return scores of a split with dropout on."""
        return self._scores(
            self._cut(split.inputs, test_masks(self._rules, self._seed, len(split)))
        )

    def _scores(self, parts: list[Seen]) -> np.ndarray:
        held = self._way.own(self._held)
        return np.concatenate(
            [self._programs.of(programs.score, held, part)(held, part) for part in parts]
        )

    def state(self) -> bytes:
        """Return variables, velocity and step."""
        return checkpoint.pack(self._arrays())

    def restore(self, state: bytes) -> None:
        """Go on from a state."""
        arrays = checkpoint.unpack(state, self._arrays())
        variables, velocity = (
            {n: arrays[f"{part}/{n}"] for n in self._names if f"{part}/{n}" in arrays}
            for part in ("variables", "velocity")
        )
        self._held = self._placed_state(variables, velocity)
        self._step = int(arrays["step"])
        self._plateau.restore(arrays)

    def evaluated(self, step: int, loss: float) -> None:
        """Tell the schedule the evaluated loss."""
        self._plateau.evaluated(step, loss)

    def variables(self) -> dict[str, np.ndarray]:
        """Return parameters and running statistics in the reference's layout."""
        held = self._way.own(self._held)
        found = named(held.weights) | named(held.statistics)
        return {name: found[name] for name in self._names}

    def assign(self, variables: Mapping[str, np.ndarray]) -> None:
        """Take these variables instead."""
        self._held = self._placed_state(
            {name: variables[name] for name in self._names}, self._velocity()
        )

    def probe(self, step: int) -> Probe:
        """Return inputs, scores, loss and gradients of the mini-batch of `step`.

        One of several workers returns its part's share: the sums over the workers are the whole's.
        """
        held, batch = self._way.own(self._held), self._batch(step, self._places(step))
        inputs, scores, loss, gradients = self._programs.of(programs.probe, held, batch)(
            held, batch
        )
        return Probe(np.array(inputs), np.array(scores), float(loss), named(gradients))

    # --- state -----------------------------------------------------------------------------------

    def _placed_state(
        self, variables: Mapping[str, np.ndarray], velocity: Mapping[str, np.ndarray]
    ) -> Held:
        """Return it as the steps want it."""
        weights = {n: v for n, v in variables.items() if not is_statistic(n)}
        statistics = {n: v for n, v in variables.items() if is_statistic(n)}
        trees = [tree_of(part, self._dtype) for part in (weights, statistics, velocity)]
        shapes = jax.eval_shape(optimizer_of(self._rules.optimizer).init, trees[0])
        state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        state = optax.tree.set(state, trace=trees[2])
        held: Held = jax.device_put(Held(trees[0], trees[1], state), self._device)
        return self._way.placed(held)

    def _velocity(self) -> dict[str, np.ndarray]:
        return named(optax.tree.get(self._way.own(self._held).optimizer, "trace"))

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {f"variables/{name}": value for name, value in self.variables().items()}
        arrays |= {f"velocity/{name}": value for name, value in self._velocity().items()}
        return {**arrays, **self._plateau.arrays(), "step": np.array(self._step)}

    # --- data ------------------------------------------------------------------------------------

    def _whole(self, step: int) -> np.ndarray:
        """Return the numbers of the examples of a mini-batch; `self._draws` are of its epoch."""
        epoch, begin, end = position(self._task, step)
        if self._draws is None or self._draws.epoch != epoch:
            self._draws = draw(self._rules, self._seed, epoch)
        whole: np.ndarray = self._draws.order[begin:end]
        return whole

    def _longer(self, step: int) -> int:
        """Return how many workers have one example more than the others."""
        _, begin, end = position(self._task, step)
        return (end - begin) % self._workers

    def _places(self, step: int) -> slice:
        """Return which part of the mini-batch is this worker's."""
        _, begin, end = position(self._task, step)
        return slice(*part_of(0, end - begin, self._rank, self._workers))

    def _part(self, step: int) -> Batch:
        """Return this worker's part of a mini-batch, filled up where the step wants it."""
        places = self._places(step)
        if self._way.equal and 0 < self._longer(step) <= self._rank:
            places = slice(places.start - 1, places.stop)
        return self._batch(step, places)

    def _batch(self, step: int, places: slice) -> Batch:
        whole = self._whole(step)
        chosen, draws = whole[places], self._draws
        assert draws is not None
        raw = augmented(self._task, self._inputs, chosen, draws)
        masks = {path: mask[chosen] for path, mask in draws.masks.items()}
        rate = learning_rate(
            self._rules.optimizer, step, self._task.steps_max, self._plateau.halvings
        )
        total = None if self._workers == 1 else self._dtype.type(self._weight(whole))
        batch = Batch(raw, self._labels[chosen], masks, self._dtype.type(rate), total)
        placed: Batch = jax.device_put(batch, self._device)
        return placed

    def _weight(self, chosen: np.ndarray) -> float:
        """Return the sum of the examples' weights: their number, unless classes have weights."""
        weights = self._task.class_weights
        return float(np.asarray(weights)[self._labels[chosen]].sum()) if weights else len(chosen)

    def _parts(self, split: Split) -> list[Seen]:
        if split.name not in self._placed:
            self._placed[split.name] = self._cut(split.inputs)
        return self._placed[split.name]

    def _cut(self, inputs: np.ndarray, masks: Mapping[str, np.ndarray] | None = None) -> list[Seen]:
        """Return the examples on the device, in parts that are predicted at once."""
        inputs = centred(self._task, inputs)
        starts = range(0, max(len(inputs), 1), PREDICT_BATCH)
        parts = [slice(start, start + PREDICT_BATCH) for start in starts]
        kept = [{path: mask[part] for path, mask in (masks or {}).items()} for part in parts]
        seen = [Seen(inputs[part], drops) for part, drops in zip(parts, kept, strict=True)]
        placed: list[Seen] = jax.device_put(seen, self._device)
        return placed
