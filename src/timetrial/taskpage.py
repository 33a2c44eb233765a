"""The rules of a task for people: one page, made from the same object that the worker executes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from timetrial import units
from timetrial.spec import (
    BatchNorm,
    Boosting,
    Conv2d,
    DatasetUse,
    Dense,
    Dropout,
    Examination,
    Exchange,
    Flatten,
    Forest,
    GlobalAveragePool,
    Growth,
    InputEncoding,
    InverseTimeDecay,
    Layer,
    LogisticRegression,
    MaxPool2d,
    Milestones,
    Network,
    OneCycle,
    OneHot,
    PiecewiseLinear,
    PlateauHalving,
    PolynomialDecay,
    Relu,
    Residual,
    Scaled,
    Sgd,
    Solver,
    Standardised,
    Task,
    encoded,
    parameter_count,
    placed,
    walk,
    width_of,
)

MEANS_SHOWN: Final = 4  # of a table's columns there may be hundreds


def task_facts(task: Task) -> Mapping[str, object]:
    """Return the task with its hash and parameter count, for JSON."""
    return {
        "hash": task.hash(),
        "parameters": parameter_count(task),
        "steps_per_epoch": task.steps_per_epoch,
        "task": msgspec.to_builtins(task),
    }


def render_task(task: Task) -> str:
    """Return the task's page in Markdown."""
    use = task.dataset
    rows = [
        ("version", str(task.version)),
        ("hash", f"`{task.hash()[:16]}`"),
        ("data set", f"{use.name}: {_splits(task)}"),
        ("inputs", f"{' × '.join(map(str, use.input_shape))}, {_preprocessing(use)}"),
        *([("encoded", _encoding(use))] if use.encoding else []),
        ("augmentation", _augmentation(task)),
        ("classes", str(use.classes)),
        ("parameters", _parameters(task)),
        ("loss", _loss(task)),
        ("optimizer", _optimizer(task)),
        ("one step is", _step(task)),
        ("at most", _length(task)),
        ("evaluated", f"every {task.eval_every_steps} steps on {task.eval_split}, and at the end"),
        ("targets", "; ".join(map(str, task.targets))),
        ("light", _light(task)),
        ("stops", _stops(task)),
        ("own measures", ", ".join(task.measures) or "none"),
        ("frameworks", ", ".join(task.implementations)),
        ("precision", ", ".join(task.precisions)),
        ("other data sets", ", ".join(task.datasets) or "none"),
    ]
    lines = _head(task, rows)
    if isinstance(task.model, Network):
        lines += ["", "## Network", "", "| layer | output | parameters |", "|---|---|---:|"]
        for row in walk(placed(encoded(task).dataset.input_shape, task.model.layers)):
            shape = " × ".join(map(str, row.output_shape))
            lines.append(
                f"| {_place(row.path)}{_layer(row.layer)} | {shape} | {row.parameters:,} |"
            )
    return "\n".join([*lines, *_end(task)]) + "\n"


def exchange_facts(exchange: Exchange) -> Mapping[str, object]:
    """Return the measuring task with its hash, for JSON."""
    return {"hash": exchange.hash(), "exchange": msgspec.to_builtins(exchange)}


def render_exchange(exchange: Exchange) -> str:
    """Return the measuring task's page in Markdown."""
    sizes = ", ".join(map(units.bytes_, exchange.sizes_bytes))
    rows = [
        ("version", str(exchange.version)),
        ("hash", f"`{exchange.hash()[:16]}`"),
        ("measured is", f"{exchange.operation} (sum) over all workers; nothing is learned"),
        ("arrays", f"{sizes}; of {' and of '.join(exchange.dtypes)}"),
        ("warm-up", f"{exchange.warm_up} sums of each array, not counted"),
        (
            "repetitions",
            f"{exchange.repetitions_min} to {exchange.repetitions_max} of each array: as many as "
            f"{exchange.seconds_per_point:g} s allow",
        ),
        (
            "left out",
            "arrays whose fewest sums would take more than "
            f"{exchange.seconds_per_point_max:g} s, by the two next smaller",
        ),
        (
            "light",
            f"arrays up to {units.bytes_(exchange.light_bytes_max)}, at most "
            f"{exchange.light_repetitions_max} repetitions",
        ),
        ("rows", "bandwidth (bit/s) and latency (s), for each dtype"),
        ("frameworks", ", ".join(exchange.implementations)),
    ]
    return "\n".join([*_head(exchange, rows), *_end(exchange)]) + "\n"


def examination_facts(examination: Examination) -> Mapping[str, object]:
    """Return the examination with its hash, for JSON."""
    return {"hash": examination.hash(), "examination": msgspec.to_builtins(examination)}


def render_examination(examination: Examination) -> str:
    """Return the examination's page in Markdown."""
    sought = [one for step in examination.steps for one in step.seeks]
    rows = [
        ("version", str(examination.version)),
        ("hash", f"`{examination.hash()[:16]}`"),
        ("data set", examination.dataset or "none"),
        ("steps", f"{len(examination.steps)}, with {len(sought)} findings; nothing is learned"),
        ("light", f"without {', '.join(examination.light_without) or 'nothing: the same steps'}"),
        ("at most", f"{units.duration(examination.timeout_s)}, unless --set timeout_s says other"),
        ("frameworks or tools", ", ".join(examination.implementations)),
    ]
    lines = _head(examination, rows)
    for step in examination.steps:
        lines += ["", f"## {step.name}: {step.about}", "", "| row | unit | what |", "|---|---|---|"]
        lines += [f"| `{one.measure}` | {one.unit} | {one.about} |" for one in step.seeks]
    return "\n".join([*lines, *_end(examination)]) + "\n"


def _head(subject: Task | Exchange | Examination, rows: Sequence[tuple[str, str]]) -> list[str]:
    lines = [f"# {subject.name}", "", f"{subject.title}.", "", "| rule | |", "|---|---|"]
    return lines + [f"| {label} | {text} |" for label, text in rows]


def _end(subject: Task | Exchange | Examination) -> list[str]:
    """Return the lines of notes and sources."""
    lines: list[str] = []
    if subject.notes:
        lines += ["", "## Notes", "", *(f"- {note}" for note in subject.notes)]
    lines += ["", "## Sources", ""]
    for source in subject.sources:
        read = f", read {source.read_on}" if source.read_on else ""
        lines.append(f"- {source.text}" + (f" (<{source.url}>{read})" if source.url else ""))
    return lines


def _splits(task: Task) -> str:
    use, rule = task.dataset, task.dataset.split
    seed = "the seed of each run" if rule.seed is None else f"seed {rule.seed}"
    test = "as shipped" if rule.test_fraction is None else f"cut with {seed}"
    parts = [f"{use.train_count:,} train"]
    if use.validation_count:
        parts.append(f"{use.validation_count:,} validation, cut from train with {seed}")
    if use.content_sha256:
        test += f"; content `{use.content_sha256[:16]}`"
    return ", ".join([*parts, f"{use.test_count:,} test, {test}"])


def _parameters(task: Task) -> str:
    count = parameter_count(task)
    return "as the trees grow" if count is None else f"{count:,}"


def _encoding(use: DatasetUse) -> str:
    """Return what becomes of each input, inputs of one kind together."""
    kinds: dict[str, list[int]] = {}
    for number, rule in enumerate(use.encoding, start=1):
        kinds.setdefault(_encoded(rule), []).append(number)
    parts = [f"{kind}: {', '.join(map(str, numbers[:8]))}" + (" …" if len(numbers) > 8 else "")
             for kind, numbers in kinds.items()]  # fmt: skip
    return f"{sum(map(width_of, use.encoding))} inputs; {'; '.join(parts)}"


def _encoded(rule: InputEncoding) -> str:
    match rule:
        case OneHot():
            return "one-hot"
        case Standardised():
            return "standardised by train"
        case PiecewiseLinear(bins=bins):
            return f"piecewise linear in {bins} bins of train"
        case Scaled(divide_by=divide_by, log10=log10):
            return f"{'log10 ' if log10 else ''}divided by {divide_by:g}"


def _preprocessing(use: DatasetUse) -> str:
    text = f"divided by {use.divide_by:g}"
    if len(use.mean or use.std) > MEANS_SHOWN:
        count = len(use.mean or use.std)
        return f"{text}, then by {count} means and standard deviations, one a column (--json)"
    if use.mean or use.std:
        mean, std = (", ".join(f"{value:g}" for value in part) for part in (use.mean, use.std))
        text += f", mean ({mean}) subtracted, divided by std ({std})"
    return text


def _augmentation(task: Task) -> str:
    if task.dataset.train_view == "resized_crop_flip":
        return (
            "a random part (8 to 100 % of the area, sides 3:4 to 4:3) scaled to the input's size, "
            "mirrored with probability 1/2; evaluation: short side scaled to 256, the centre"
        )
    if task.augmentation is None:
        return "none"
    flip = ", mirrored with probability 1/2" if task.augmentation.flip else ""
    return f"{task.augmentation.padding} black pixels on each side, a random crop{flip}"


def _loss(task: Task) -> str:
    name = task.loss.replace("_", " ")
    if not task.class_weights:
        return name
    return f"{name}, class weights {', '.join(f'{weight:g}' for weight in task.class_weights)}"


def _optimizer(task: Task) -> str:
    match task.optimizer:
        case Sgd() as sgd:
            nesterov = ", Nesterov" if sgd.nesterov else ""
            form = "Keras' form" if sgd.rate_in_velocity else "PyTorch's form"
            of = "" if sgd.decays == "all" else " of weights alone"
            decay = f", weight decay {sgd.weight_decay:g}{of}" if sgd.weight_decay else ""
            return (
                f"SGD, learning rate {sgd.learning_rate:g}, momentum {sgd.momentum:g}{nesterov} "
                f"({form}){decay}{_schedule(sgd)}"
            )
        case Growth(learning_rate=rate):
            return _growth(task, rate)
        case Solver() as solver:
            assert isinstance(task.model, LogisticRegression)
            return (
                f"{task.model.solver}, L2 penalty with C = {task.model.c:g}, tolerance "
                f"{solver.tolerance:g}, at most {solver.iterations_max} iterations"
            )


def _growth(task: Task, rate: float) -> str:
    match task.model:
        case Boosting() as trees:
            return (
                f"gradient boosting, learning rate {rate:g}, trees of at most {trees.depth_max} "
                f"levels and {trees.leaves_max} leaves, {trees.bins_max} bins"
            )
        case Forest(leaf_min=leaf_min):
            return (
                "random forest: bootstrap samples, the square root of the inputs at each split, "
                f"at least {leaf_min} in a leaf"
            )
        case _:
            return f"growth, learning rate {rate:g}"


def _schedule(sgd: Sgd) -> str:
    match sgd.schedule:
        case None:
            return ""
        case InverseTimeDecay(rate=rate):
            return f"; rate / (1 + {rate:g} × step)"
        case OneCycle(warmup_steps=warmup, start_factor=start, end_factor=end):
            return (
                f"; linear from {start:g} × rate over {warmup} steps, then linear to "
                f"{end:g} × rate at the last"
            )
        case PolynomialDecay(fraction=fraction, power=power, end_factor=end):
            return (
                f"; falls to {end:g} × rate in the first {100 * fraction:.4g} % of the steps, as "
                f"the power {power:g} of what is left of them"
            )
        case Milestones(warmup_steps=warmup, start_factor=start) as marks:
            rise = f"linear from {start:g} × rate over {warmup:,} steps, " if warmup else ""
            return (
                f"; {rise}× {marks.factor:g} at "
                f"steps {' and '.join(f'{step:,}' for step in marks.milestones)}"
            )
        case PlateauHalving() as plateau:
            return (
                f"; halved after {plateau.patience + 1} evaluations whose loss is not lower by "
                f"{plateau.threshold:g}, down to {plateau.floor_factor:g} × rate; warm-up from "
                f"{plateau.start_factor:g} × rate over {plateau.warmup_steps:,} steps"
            )


def _step(task: Task) -> str:
    if task.step == "fit":
        return "the whole fit"
    if task.batch_size is None:
        return f"a {task.step}"
    last = "may be smaller" if task.last_batch == "keep" else "is left out where it is smaller"
    return f"a mini-batch of {task.batch_size}; the last of an epoch {last}"


def _length(task: Task) -> str:
    if task.batch_size is None:
        return f"{task.steps_max} step{'' if task.steps_max == 1 else 's'}"
    epochs = task.steps_max / task.steps_per_epoch
    return f"{task.steps_max:,} steps = {epochs:g} epochs of {task.steps_per_epoch}"


def _light(task: Task) -> str:
    steps = f", at most {task.light_steps_max:,} steps" if task.light_steps_max else ""
    return f"{task.light_target}{steps}"


def _stops(task: Task) -> str:
    if task.stops_at_target:
        on = "" if task.eval_split == "validation" else f"; it stops on {task.eval_split}"
        return f"at the first evaluation that meets the target{on}"
    return "on nothing: always runs all steps, targets are read off the curve"


def _place(path: str) -> str:
    """Return how deep inside residual blocks a layer lies, and on which way."""
    *_, way, _ = path.split(".") if "." in path else ("", "")
    return f"— {way}: " if way else ""


def _layer(layer: Layer) -> str:
    match layer:
        case Conv2d() as conv:
            pad = f", padding {conv.padding}" if conv.padding else ""
            stride = f", stride {conv.stride}" if conv.stride != 1 else ""
            bias = "" if conv.bias else ", no bias"
            return (
                f"convolution {conv.kernel} × {conv.kernel}, {conv.filters} filters{stride}{pad}"
                f"{bias}, {conv.activation}, {conv.init.replace('_', ' ')}"
            )
        case BatchNorm(epsilon=epsilon, momentum=momentum, initial_scale=scale):
            begins = "" if scale == 1 else f", its scale begins at {scale:g}"
            return f"batch normalisation, ε {epsilon:g}, momentum {momentum:g}{begins}"
        case Relu():
            return "ReLU"
        case Residual(shortcut=shortcut, activation=activation):
            kind = "convolved shortcut" if shortcut else "identity"
            then = ", then ReLU" if activation == "relu" else ""
            return f"residual block, {kind}{then}, of:"
        case GlobalAveragePool():
            return "mean over height and width"
        case MaxPool2d() as pool:
            pad = f", padding {pool.padding}" if pool.padding else ""
            stride = f", stride {pool.stride}" if pool.stride else ""
            return f"max-pooling {pool.size} × {pool.size}{stride}{pad}"
        case Dropout(rate=rate):
            return f"dropout {rate:g}"
        case Flatten():
            return "flatten"
        case Dense() as dense:
            return f"dense {dense.units}, {dense.activation}, {dense.init.replace('_', ' ')}"
