"""Which examples each worker sees: every one once an epoch, by the partition asked for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial.engine import seeds
from timetrial.errors import UnknownNameError, UsageError
from timetrial.tasks.networks.shards import (
    Shards,
    check_partition,
    label_skewed_parts,
    parse_partition,
    part_of,
)

LABELS = np.repeat(np.arange(10), 100)[seeds.generator(7, "labels").permutation(1000)]


def shards(text: str, *, seed: int = 5, workers: int = 4, batch_size: int = 48) -> Shards:
    partition = parse_partition(text)
    return Shards(partition, LABELS, seed=seed, workers=workers, batch_size=batch_size)


def skew(parts: list[np.ndarray], labels: np.ndarray = LABELS) -> float:
    """Mean distance in total variation of a worker's mix of labels to that of all: 0 to 1."""
    whole = np.bincount(labels) / len(labels)
    mixes = [np.bincount(labels[part], minlength=len(whole)) / len(part) for part in parts]
    return float(np.mean([np.abs(mix - whole).sum() / 2 for mix in mixes]))


def seen_by(made: Shards, rank: int, epoch: int, *, workers: int = 4, batch: int = 48) -> list[int]:
    """What a worker sees in an epoch, going through its part of every mini-batch."""
    order = made.order(epoch)
    seen: list[int] = []
    for begin in range(0, len(order), batch):
        first, last = part_of(begin, min(begin + batch, len(order)), rank, workers)
        seen += order[first:last].tolist()
    return seen


@given(begin=st.integers(0, 50), count=st.integers(0, 60), workers=st.integers(1, 9))
def test_parts_of_a_stretch_are_array_splits(begin: int, count: int, workers: int) -> None:
    expected = np.array_split(np.arange(begin, begin + count), workers)

    for rank, part in enumerate(expected):
        assert np.arange(*part_of(begin, begin + count, rank, workers)).tolist() == part.tolist()


@pytest.mark.parametrize("text", ["shuffled", "iid", "dirichlet:alpha=0.1", "dirichlet:alpha=50"])
@pytest.mark.parametrize(("workers", "batch"), [(1, 48), (3, 50), (4, 48), (4, 7), (5, 3)])
def test_every_example_is_seen_once_an_epoch(text: str, workers: int, batch: int) -> None:
    made = shards(text, workers=workers, batch_size=batch)

    for epoch in (0, 3):
        assert np.array_equal(np.sort(made.order(epoch)), np.arange(1000))


def test_shuffled_is_the_one_order_of_all_frameworks() -> None:
    assert np.array_equal(shards("shuffled").order(2), seeds.order(5, 2, 1000))


@pytest.mark.parametrize("text", ["iid", "dirichlet:alpha=0.1"])
def test_a_worker_sees_its_own_examples_every_epoch_in_a_new_order(text: str) -> None:
    made = shards(text)
    assert made.parts is not None

    for rank, part in enumerate(made.parts):
        first, second = seen_by(made, rank, 0), seen_by(made, rank, 1)
        assert sorted(first) == sorted(second) == sorted(part.tolist())
        assert first != second


@pytest.mark.parametrize("text", ["iid", "dirichlet:alpha=0.1"])
@pytest.mark.parametrize(("workers", "batch"), [(2, 64), (4, 48), (5, 10)])
def test_shares_differ_by_one_where_the_workers_divide_the_mini_batch(
    text: str, workers: int, batch: int
) -> None:
    parts = shards(text, workers=workers, batch_size=batch).parts
    assert parts is not None

    sizes = [len(part) for part in parts]

    assert max(sizes) - min(sizes) <= 1


def test_else_shares_are_what_the_parts_of_the_mini_batches_hold() -> None:
    parts = shards("iid", workers=3, batch_size=50).parts
    assert parts is not None

    assert [len(part) for part in parts] == [20 * 17, 20 * 17, 20 * 16]


def test_labels_are_mixed_the_more_the_larger_alpha_is() -> None:
    rng = seeds.generator(3, "test")
    sizes = [250] * 4
    skews = [
        np.mean([skew(label_skewed_parts(LABELS, sizes, alpha=a, rng=rng)) for _ in range(20)])
        for a in (0.01, 0.1, 1.0, 10.0, 1000.0)
    ]

    assert all(more > less for more, less in pairwise(skews))
    assert skews[0] > 0.6
    made = shards("iid")
    assert made.parts is not None
    assert skews[-1] < 2 * skew(made.parts)


def test_shares_of_labels_follow_the_dirichlet_distribution() -> None:
    # two hundred workers with like tastes: labels run out only at the very end
    labels = np.repeat(np.arange(4), [40_000, 30_000, 20_000, 10_000])
    alpha, size = 50.0, 500
    parts = label_skewed_parts(labels, [size] * 200, alpha=alpha, rng=seeds.generator(4, "test"))
    mixes = np.array([np.bincount(labels[part], minlength=4) / size for part in parts])
    p = np.array([0.4, 0.3, 0.2, 0.1])

    # of a Dirichlet's share, plus that of `size` draws with it
    variance = p * (1 - p) * (1 / (alpha + 1) + 1 / size)
    low, high = np.quantile(mixes, [0.16, 0.84], axis=0)  # leaves the last workers out
    assert np.allclose(mixes.mean(axis=0), p)
    assert np.allclose((high - low) / 2, np.sqrt(variance), rtol=0.2)


def test_even_a_tiny_alpha_gives_every_worker_its_share() -> None:
    for seed in range(5):
        made = shards("dirichlet:alpha=0.000001", seed=seed)
        assert made.parts is not None
        assert [len(part) for part in made.parts] == [len(seen_by(made, r, 0)) for r in range(4)]
        assert skew(made.parts) > 0.6  # two or three labels each


def test_labels_of_very_unequal_number_and_one_that_is_missing_are_shared_out_as_well() -> None:
    labels = np.array([0] * 95 + [2] * 4 + [7])

    parts = label_skewed_parts(labels, [50, 50], alpha=0.3, rng=seeds.generator(1, "test"))

    assert sorted(np.concatenate(parts).tolist()) == list(range(100))
    assert [len(part) for part in parts] == [50, 50]


@pytest.mark.parametrize("text", ["iid", "dirichlet:alpha=0.5"])
def test_the_same_seed_gives_the_same_partition_and_another_seed_another(text: str) -> None:
    one, again, other = shards(text), shards(text), shards(text, seed=6)

    assert np.array_equal(one.order(4), again.order(4))
    assert one.parts is not None
    assert other.parts is not None
    assert sorted(one.parts[0].tolist()) != sorted(other.parts[0].tolist())


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("shuffled", "shuffled"),
        ("iid", "iid"),
        ("dirichlet:alpha=0.50", "dirichlet:alpha=0.5"),
        ("dirichlet:alpha=1e1", "dirichlet:alpha=10"),
    ],
)
def test_a_partition_is_read_and_written(text: str, canonical: str) -> None:
    assert parse_partition(text).text == canonical
    assert parse_partition(canonical) == parse_partition(text)


@pytest.mark.parametrize(
    "text",
    [
        "dirichlet", "dirichlet:alpha=", "dirichlet:alpha=0", "dirichlet:alpha=-1",
        "dirichlet:alpha=inf", "dirichlet:alpha=nan", "dirichlet:beta=1", "dirichlet:alpha=much",
    ],
)  # fmt: skip
def test_a_dirichlet_partition_needs_a_possible_alpha(text: str) -> None:
    with pytest.raises(UsageError, match=r"--partition dirichlet.*Allowed: dirichlet:alpha=A"):
        parse_partition(text)


def test_what_is_no_partition_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'dirichlet'"):
        parse_partition("dirichlett:alpha=1")
    with pytest.raises(UsageError, match=r"--partition iid:alpha=1 is not possible"):
        parse_partition("iid:alpha=1")


def test_a_framework_that_knows_no_partitions_is_refused() -> None:
    check_partition(parse_partition("iid"), framework="torch")
    check_partition(parse_partition("shuffled"), framework="jax")
    with pytest.raises(UsageError, match=r"--partition iid is not possible in jax.*torch"):
        check_partition(parse_partition("iid"), framework="jax")
