"""What every algorithm of several workers must do, as a test class for pytest.

    class TestMine(AlgorithmContract):
        @pytest.fixture
        def algorithm(self) -> str:
            return "mine:rate=0.5"

It runs in two processes of this machine. The problem is small, convex and noisy
(`timetrial.testing.quadratic`), so some algorithms need other settings than for a network.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

import numpy as np
import pytest

from timetrial import algorithms
from timetrial.errors import UnknownNameError
from timetrial.testing import quadratic
from timetrial.testing.gang import Gang

TRAIN: Final = "timetrial.testing.quadratic:train"
LEARNED: Final = 0.01  # of the loss at the beginning, above the best
# messages have headers: of 10 to 600 bytes each, by what was seen of gloo
HEADERS_BYTES: Final = 4_000


class AlgorithmContract:
    """An algorithm, given by the fixture `algorithm` as on the command line."""

    workers = 2

    @pytest.fixture(scope="class")
    def gang(self) -> Iterator[Gang]:
        """Some processes that learn together."""
        with Gang(self.workers) as gang:
            yield gang

    def test_it_says_what_it_is(self, algorithm: str) -> None:
        choice = algorithms.parse_algorithm(algorithm)
        description = algorithms.describe(choice.name)
        assert description.title
        assert description.source
        assert description.sends
        assert all(setting.meaning and setting.allowed for setting in description.settings)

    def test_its_canonical_text_says_all_settings_and_means_the_same(self, algorithm: str) -> None:
        choice = algorithms.parse_algorithm(algorithm)
        names = [setting.name for setting in algorithms.describe(choice.name).settings]
        assert list(choice.settings) == names
        assert algorithms.parse_algorithm(choice.text) == choice

    def test_an_unknown_setting_is_refused(self, algorithm: str) -> None:
        name = algorithms.parse_algorithm(algorithm).name
        with pytest.raises(UnknownNameError, match=f"setting of algorithm {name} 'colour'"):
            algorithms.parse_algorithm(f"{name}:colour=red")

    def test_several_workers_learn_with_it(self, algorithm: str, gang: Gang) -> None:
        # workers of nearly one mind: a vote does not find the mean of very different ones
        found = gang.call(TRAIN, algorithm=algorithm, steps=400, rate=0.005, spread=0.1)
        count = found[0]["scored"].size
        problem = quadratic.Problem.of(gang.size, count, spread=0.1)
        first = problem.loss(quadratic.first_weights(count))
        assert float(found[0]["loss"]) < LEARNED * first

    def test_what_is_scored_is_the_weights_of_all_or_settled(
        self, algorithm: str, gang: Gang
    ) -> None:
        found = gang.call(TRAIN, algorithm=algorithm, steps=9)
        weights = [each["weights"] for each in found]
        if not any(each["settles"] for each in found):
            assert all(np.array_equal(each, weights[0]) for each in weights)
        assert np.isfinite(found[0]["scored"]).all()

    def test_the_same_seed_gives_the_same_bits_unless_it_says_otherwise(
        self, algorithm: str, gang: Gang
    ) -> None:
        if not self._repeats(algorithm):
            pytest.skip("two runs differ, as its description says")
        pair = [gang.call(TRAIN, algorithm=algorithm, steps=9) for _ in range(2)]
        for rank in range(gang.size):
            assert np.array_equal(pair[0][rank]["weights"], pair[1][rank]["weights"])

    def test_a_restored_state_continues_bit_for_bit(self, algorithm: str, gang: Gang) -> None:
        if not self._repeats(algorithm):
            pytest.skip("two runs differ, as its description says")
        whole = gang.call(TRAIN, algorithm=algorithm, steps=20)
        halves = gang.call(TRAIN, algorithm=algorithm, steps=20, restart=9)
        for rank in range(gang.size):
            assert np.array_equal(whole[rank]["weights"], halves[rank]["weights"])
            assert np.array_equal(whole[rank]["given"], halves[rank]["given"])

    def test_its_state_has_one_form_at_any_time(self, algorithm: str, gang: Gang) -> None:
        for each in gang.call(TRAIN, algorithm=algorithm, steps=9):
            forms = [
                {
                    name.removeprefix(head): (value.shape, value.dtype)
                    for name, value in each.items()
                    if name.startswith(head)
                }
                for head in ("begun/", "ended/")
            ]
            assert forms[0] == forms[1]

    def test_an_evaluation_changes_nothing(self, algorithm: str, gang: Gang) -> None:
        if not self._repeats(algorithm):
            pytest.skip("two runs differ, as its description says")
        quiet = gang.call(TRAIN, algorithm=algorithm, steps=12)
        asked = gang.call(TRAIN, algorithm=algorithm, steps=12, settle_every=2)
        for rank in range(gang.size):
            assert np.array_equal(quiet[rank]["weights"], asked[rank]["weights"])

    @pytest.mark.skipif(sys.platform != "linux", reason="the bytes of a connection: Linux only")
    def test_it_sends_the_bytes_that_it_says(self, algorithm: str, gang: Gang) -> None:
        choice, steps = algorithms.parse_algorithm(algorithm), 24  # whole periods
        said = algorithms.bytes_per_step(choice, quadratic.LARGE, itemsize=4, workers=gang.size)
        found = gang.call(
            TRAIN, algorithm=algorithm, steps=steps, shapes=quadratic.LARGE, kind="float32"
        )
        seen = float(np.mean([each["bytes_per_step"] for each in found]))
        assert 0.999 * said <= seen <= 1.02 * said + HEADERS_BYTES

    def _repeats(self, algorithm: str) -> bool:
        return algorithms.describe(algorithms.parse_algorithm(algorithm).name).repeats
