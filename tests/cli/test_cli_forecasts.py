"""From a probe to a scored prediction, as a user does it; and what cannot be predicted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import ONE_CORE, Outcome, run_timetrial


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a probe of digits-cnn, a prediction of it, and a run after both."""
    place = tmp_path_factory.mktemp("probed") / "runs"
    at = ["--store", place]
    probe = run_timetrial("probe", "digits-cnn", "--seconds=1s", *ONE_CORE,
                          "--price-per-hour=0.5", *at, "--json")  # fmt: skip
    assert probe.code == 0, probe.err
    rows = {row["measure"]: row for row in probe.json()}
    assert set(rows) == {"seconds_per_step", "evaluation_time", "set_up_time", "start_up_time"}
    assert all(row["value"] > 0 for row in rows.values())
    assert rows["seconds_per_step"]["low"] < rows["seconds_per_step"]["value"]
    made = run_timetrial("predict", "digits-cnn", *at, "--json")
    assert made.code == 0, made.err
    (place.parent / "predicted.json").write_text(made.out)
    ran = run_timetrial("run", "digits-cnn", *ONE_CORE, "--seeds=1", *at)
    assert ran.code == 0, ran.err
    return place


def rows_of(place: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((place.parent / "predicted.json").read_text())
    return found


def test_time_and_cost_are_predicted_with_intervals_and_a_source(probed: Path) -> None:
    time, cost = rows_of(probed)
    assert (time["measure"], cost["measure"]) == ("time_to_target", "cost_per_run")
    for row in (time, cost):
        assert row["origin"] == "predicted"
        assert row["low"] < row["value"] < row["high"]  # type: ignore[operator]
        assert row["evidence"]
    assert cost["unit"] == "USD"
    assert any("40 runs" in note for note in time["notes"])  # type: ignore[attr-defined]


def test_a_prediction_is_stored_and_scored_by_the_run_that_followed(
    probed: Path, call: Callable[..., Outcome]
) -> None:
    assert len(list((probed / "predictions").glob("*.json"))) >= 1
    seen = call("predict", "--score", "--store", probed)
    assert seen.code == 0
    assert "1 prediction: median error" in seen.out
    assert "Inside" in seen.out
    rows = call("predict", "--score", "--store", probed, "--json").json()
    assert [row["origin"] for row in rows] == ["predicted", "measured"]


def test_a_probe_is_in_no_report_of_runs(probed: Path, call: Callable[..., Outcome]) -> None:
    rows = call("report", probed, "--json").json()
    times = [row for row in rows if row["measure"] == "time_to_target" and row["clock"] == "mlperf"]
    assert [row["n"] for row in times if row["origin"] == "measured"] == [1]


def test_a_probe_is_a_run_directory_that_holds(probed: Path, call: Callable[..., Outcome]) -> None:
    seen = call("verify", probed)
    assert seen.code == 0, seen.out


def test_recommend_names_the_front_and_the_chance(
    probed: Path, call: Callable[..., Outcome], tmp_path: Path
) -> None:
    page = tmp_path / "front.html"
    seen = call("recommend", "digits-cnn", "--deadline=1h", "--max-cost=1usd", "--store", probed,
                "--html", page)  # fmt: skip
    assert seen.code == 0, seen.err
    assert "100 %" in seen.out
    assert "yes" in seen.out
    assert "not known: systems that nobody probed" in " ".join(seen.out.split())
    text = page.read_text()
    assert "Cost against time of the next run" in text
    assert "<svg" in text


def test_no_price_is_unknown_and_never_free(
    probed: Path, call: Callable[..., Outcome], tmp_path: Path
) -> None:
    place = tmp_path / "runs"
    assert call("probe", "digits-cnn", "--seconds=0.5s", *ONE_CORE, "--store", place).code == 0
    seen = call("recommend", "digits-cnn", "--max-cost=1usd", "--store", place)
    assert "unknown" in seen.out
    assert "have no price" in seen.out
    assert "0.00 USD" not in seen.out


def test_several_workers_and_a_network_are_computed_from_one_probe(
    probed: Path, call: Callable[..., Outcome]
) -> None:
    found = call("predict", "digits-cnn", "--workers=1,2", "--network=rate=1gbit,delay=1ms",
                 "--store", probed, "--json").json()  # fmt: skip
    times = {row["workers"]: row for row in found if row["measure"] == "time_to_target"}
    assert set(times) == {1, 2}
    assert times[1]["network"] is None
    assert times[2]["network"] == "rate=1gbit,delay=1ms"
    assert any("all-reduce" in note for note in times[2]["notes"])


def test_a_dry_run_says_what_it_will_take_and_what_it_does_not_know(
    probed: Path, call: Callable[..., Outcome]
) -> None:
    words = ["--dry-run", "--store", probed, *ONE_CORE]
    seen = call("run", "digits-cnn", "mnist-cnn", "--seeds=4", *words)
    assert seen.code == 0, seen.err
    assert "8 runs planned, none begun" in seen.out
    assert "unknown" in seen.out
    assert "timetrial probe mnist-cnn" in " ".join(seen.out.split())
    assert "4 runs are not in the total" in seen.out


def test_a_dry_run_asks_nothing_of_the_network(
    call: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIMETRIAL_DATA", str(tmp_path))
    monkeypatch.setenv("TIMETRIAL_CACHE", str(tmp_path / "cache"))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a dry run opened a connection")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.create_connection", refuse)
    seen = call("run", "cifar10-resnet20-v2", "--seeds=1", "--dry-run", "--store", tmp_path / "s")
    assert seen.code == 0, seen.err
    assert "unknown" in seen.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["probe", "digits-cnn", "--seconds=0s"], "0.5 to 86400"),
        (["probe", "allreduce"], "cannot be probed"),
        (["probe", "no-such-task"], "no-such-task"),
        (["predict"], "Name a task"),
        (["predict", "allreduce"], "no time to a target"),
        (["predict", "digits-cnn"], "timetrial probe digits-cnn"),
        (["predict", "digits-cnn", "--price-per-hour=0"], "above 0 USD"),
        (["predict", "--score"], "no prediction to score"),
        (["recommend", "digits-cnn", "--max-cost=1"], "1usd"),
        (["recommend", "digits-cnn", "--deadline=soon"], "Not a duration"),
        (["convergence", "update", "no-such-task"], "no-such-task"),
    ],
)
def test_what_cannot_be_says_what_to_do(
    call: Callable[..., Outcome], tmp_path: Path, words: list[str], said: str
) -> None:
    place = tmp_path / "runs"
    place.mkdir()
    seen = call(*words, "--store", place)
    assert seen.code == 1
    assert said in " ".join(seen.err.split())


def test_the_library_says_how_old_it_is_and_what_it_knows(call: Callable[..., Outcome]) -> None:
    seen = call("convergence", "list")
    assert seen.code == 0
    assert "mnist-cnn: any accuracy on test" in seen.out
    assert "OUT OF DATE" not in seen.out
    entries = call("convergence", "list", "--json").json()
    assert all(entry["fresh"] and entry["runs"] > 0 for entry in entries)


def test_an_update_counts_the_runs_that_are_there_and_writes_a_file(
    probed: Path, tmp_path: Path
) -> None:
    words = ["convergence", "update", "digits-cnn", "--seeds=2", *ONE_CORE, "--store", probed]
    seen = run_timetrial(*words, "--to", tmp_path)
    assert seen.code == 0, seen.err
    assert "2 runs of its present rules" in seen.out
    [file] = tmp_path.glob("digits-cnn-*.json")
    assert len(json.loads(file.read_bytes())["curves"]) == 2
    again = run_timetrial(*words)
    assert again.code == 0
    assert "reached" not in again.err  # nothing was run
