"""The splits of a task: files checked once more, read, and cut the same way in every run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import numpy as np

from timetrial import datasets
from timetrial._registry import load_object
from timetrial.datasets import _decoded
from timetrial.datasets._content import Contents, read_copy
from timetrial.datasets.info import DatasetInfo, Examples, Reader
from timetrial.errors import DataError, UsageError
from timetrial.spec import DatasetUse, Split, SplitName, SplitRule


def load_splits(
    use: DatasetUse, files: Mapping[str, str], *, seed: int | None = None
) -> dict[SplitName, Split]:
    """Return train, validation (empty where the task has none) and test.

    `files` are the paths that `prepare` or `sources.locate` returned: those of a registered data
    set, or decoded ones, which say themselves what they are. `seed` is the run's, by which it cuts
    where the task's rule names no seed. Inputs as stored, channels last;
    labels int64. Where nothing is cut, examples keep the order of the files; a cut part has the
    order in which it was drawn, that of scikit-learn's StratifiedShuffleSplit.

    Raises:
        DataError: A file is missing, or is not the one its checksum names.
        UsageError: The task's counts, shape, classes or cut are not those of the data set.
    """
    decoded = _decoded.named_in(files)
    if decoded is not None:
        info, examples = _decoded.read(decoded, name=use.name)
    else:
        info = datasets.get(use.name)
        examples = read_examples(info, files)
    if use.content_sha256 not in (None, info.content_sha256):
        raise DataError(
            f"The data set {use.name!r} has the content {info.content_sha256}; the task's rules "
            f"say {use.content_sha256}. Next step: make the plan again."
        )
    _check_shape(info, use, examples)
    rule = use.split
    drawn_by = _seed_of_cut(use, seed)
    rows = np.arange(len(examples.labels))
    if examples.test_inputs is not None and examples.test_labels is not None:
        test = Split("test", examples.test_inputs, examples.test_labels)
    else:
        count = math.ceil(cast(float, rule.test_fraction) * len(rows))
        rows, drawn = stratified_cut(examples.labels, count, seed=drawn_by)
        test = Split("test", examples.inputs[drawn], examples.labels[drawn])
    drawn = rows[:0]
    if rule.validation_count:
        kept, taken = stratified_cut(examples.labels[rows], rule.validation_count, seed=drawn_by)
        rows, drawn = rows[kept], rows[taken]
    if rule.train_limit is not None:
        rows = rows[: rule.train_limit]
    whole = len(rows) == len(examples.labels)  # then no copy of it is made
    train = Split(
        "train",
        examples.inputs if whole else examples.inputs[rows],
        examples.labels if whole else examples.labels[rows],
    )
    validation = Split("validation", examples.inputs[drawn], examples.labels[drawn])
    splits: dict[SplitName, Split] = {"train": train, "validation": validation, "test": test}
    _check_counts(use, splits)
    return splits


def _seed_of_cut(use: DatasetUse, seed: int | None) -> int:
    """Return the seed that cuts: the rule's, or one made of the run's."""
    if use.split.seed is not None:
        return use.split.seed
    if seed is None:
        raise UsageError(
            f"The task cuts {use.name!r} anew in every run, by the run's seed, and none is given. "
            "Give `load_splits` the seed of a run."
        )
    return seed % 2**32  # RandomState takes no more


def read_examples(
    info: DatasetInfo,
    files: Mapping[str, str],
    *,
    seen: Callable[[int, int], None] | None = None,
) -> Examples:
    """Return all examples of the data set from its files, checked once more.

    `seen` is told the bytes that were read and the bytes in all.

    Raises:
        DataError: A file is missing, or is not the one its checksum names.
        MissingExtraError: What decodes the files is not installed.
    """
    contents = Contents(seen)
    whole = [files_ for files_ in info.file_sets if all(file.name in files for file in files_)]
    for file in (whole or [info.files])[0]:
        path = files.get(file.name)
        if path is None:
            raise DataError(
                f"No path is given for {file.name} of the data set {info.name!r}; given: "
                f"{', '.join(files) or 'none'}. Next step: make the plan again."
            )
        if file.kind == "layout":  # listed by its reader: once is enough for a million names
            contents.add(file, Path(path), path.encode())
            continue
        copy = read_copy(Path(path), file)
        if copy.content is None:
            raise DataError(
                f"{path}, a file of the data set {info.name!r}, was fine when the plan was made "
                f"and is now {copy.status}{': ' if copy.detail else ''}{copy.detail}. "
                f"Next step: timetrial data check {info.name}"
            )
        contents.add(file, Path(path), copy.content)
    read = cast(Reader, load_object(info.reader))
    return read(contents, **info.reader_options)


def use_of(info: DatasetInfo, split: SplitRule, *, divide_by: float) -> DatasetUse:
    """Return the use of the whole data set under this split rule, with the counts it gives.

    Raises:
        UsageError: The rule cuts a test set from a data set that ships one, or none from one that
            ships none.
    """
    test_count = info.test_examples
    if test_count is None and split.test_fraction is not None:
        test_count = math.ceil(split.test_fraction * info.examples)
    if test_count is None or (info.test_examples is None) == (split.test_fraction is None):
        raise UsageError(_unfit_fraction(info, split))
    shipped = info.test_examples is not None
    whole = info.examples - split.validation_count - (0 if shipped else test_count)
    return DatasetUse(
        name=info.name,
        input_shape=info.input_shape,
        classes=info.classes,
        train_count=min(whole, split.train_limit or whole),
        validation_count=split.validation_count,
        test_count=test_count,
        split=split,
        divide_by=divide_by,
    )


def stratified_cut(labels: np.ndarray, count: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that stay and `count` drawn rows, both with the classes in proportion.

    Equal, rows and order, to the first split of scikit-learn's StratifiedShuffleSplit with
    test_size = count and random_state = seed, so that a published script's cut is had without
    scikit-learn. RandomState's stream never changes (NEP 19); Generator's may.

    Raises:
        UsageError: The cut leaves either side with fewer rows than classes, a class has fewer
            than 2 rows, or the seed is not one of RandomState's.

    Source: scikit-learn 1.9.1, model_selection/_split.py, StratifiedShuffleSplit._iter_indices.
    """
    _, class_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    stay = len(labels) - count
    if min(stay, count) < len(counts) or len(counts) == 0 or counts.min() < 2:
        raise UsageError(
            f"Cannot draw {count} of {len(labels)} examples with {len(counts)} classes in "
            "proportion; allowed: at least one example a class on both sides, two a class in all. "
            "Change validation_count or test_fraction of the task's split."
        )
    if not 0 <= seed < 2**32:
        raise UsageError(f"Not a seed for a split: {seed}. Allowed: 0 to 2**32 - 1.")
    random = np.random.RandomState(seed)
    stay_by_class = _proportions(counts, stay, random)
    drawn_by_class = _proportions(counts - stay_by_class, count, random)
    by_class = np.split(np.argsort(class_of, kind="stable"), np.cumsum(counts)[:-1])
    staying: list[np.ndarray] = []
    drawn: list[np.ndarray] = []
    for rows, stays, draws in zip(by_class, stay_by_class, drawn_by_class, strict=True):
        shuffled = rows[random.permutation(len(rows))]
        staying.append(shuffled[:stays])
        drawn.append(shuffled[stays : stays + draws])
    return random.permutation(np.concatenate(staying)), random.permutation(np.concatenate(drawn))


def _proportions(counts: np.ndarray, total: int, random: np.random.RandomState) -> np.ndarray:
    """Return how many of each class: shares rounded down, the rest by largest remainder.

    Ties are drawn. Source: scikit-learn 1.9.1, utils/extmath.py, _approximate_mode.
    """
    shares = counts / counts.sum() * total
    floors: np.ndarray = np.floor(shares)
    remainders = shares - floors
    left = int(total - floors.sum())
    for value in np.unique(remainders)[::-1]:
        if left == 0:
            break
        (tied,) = np.where(remainders == value)
        floors[random.choice(tied, size=min(len(tied), left), replace=False)] += 1
        left -= min(len(tied), left)
    return floors.astype(int)


def _check_shape(info: DatasetInfo, use: DatasetUse, examples: Examples) -> None:
    """Hold the task's words against the data set, and the data set's against its bytes."""
    shape = examples.inputs.shape
    count = None if examples.test_labels is None else len(examples.test_labels)
    if (shape, count) != ((info.examples, *info.input_shape), info.test_examples):
        if info.is_brought:
            raise DataError(
                f"The folder of {info.name!r} has {shape[0]} training and {count} validation "
                f"images now; the plan was made with {info.examples} and {info.test_examples}. "
                f"Next step: timetrial data check {info.name}"
            )
        raise DataError(
            f"{info.reader} read inputs of shape {shape} and {count} test examples; the data set "
            f"{info.name!r} has {(info.examples, *info.input_shape)} and {info.test_examples}. "
            "Its description and its reader disagree: report this."
        )
    if (use.input_shape, use.classes) != (info.input_shape, info.classes):
        raise UsageError(
            f"The task says inputs of shape {use.input_shape} in {use.classes} classes; the data "
            f"set {info.name!r} has {info.input_shape} in {info.classes}. Correct the task."
        )
    if (use.split.test_fraction is None) == (info.test_examples is None):
        raise UsageError(_unfit_fraction(info, use.split))


def _unfit_fraction(info: DatasetInfo, split: SplitRule) -> str:
    ships = "no test set" if info.test_examples is None else "a test set"
    allowed = "a fraction" if info.test_examples is None else "None"
    return (
        f"The task's test_fraction is {split.test_fraction}, but the data set "
        f"{info.name!r} ships {ships}; allowed: {allowed}. Correct the task's split."
    )


def _check_counts(use: DatasetUse, splits: Mapping[SplitName, Split]) -> None:
    said = {"train": use.train_count, "validation": use.validation_count, "test": use.test_count}
    seen = {name: len(split) for name, split in splits.items()}
    if seen != said:
        raise UsageError(
            f"The task says {said} examples of {use.name!r}, its split gives {seen}. "
            "Correct the task's counts or its split."
        )
