"""`timetrial run --inference` in three frameworks, and what it refuses."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import ONE_CORE, Outcome, run_timetrial
from xla_in_a_hurry import XLA_IN_A_HURRY

from timetrial import audit, outlook, store
from timetrial.errors import UsageError
from timetrial.plan import find_task
from timetrial.stats import inference

SYSTEMS = {"torch": "digits-cnn", "jax": "digits-cnn", "sklearn": "breast-cancer-logreg"}
PREDICT_BATCH = 250  # of the networks


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Outcome]]:
    """One run of each system, two at a time, by framework."""
    folder = tmp_path_factory.mktemp("inferred by command")

    def made(framework: str) -> Outcome:
        asked = ["--inference=1s", "--seeds=1", *ONE_CORE, "--json", "--store", folder / framework]
        return run_timetrial(
            "run",
            SYSTEMS[framework],
            f"--framework={framework}",
            *asked,
            env={"XLA_FLAGS": XLA_IN_A_HURRY},
        )

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        outcomes = pool.map(made, SYSTEMS)
    return {name: (folder / name, seen) for name, seen in zip(SYSTEMS, outcomes, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize("framework", SYSTEMS)
def test_every_framework_predicts_alone_and_in_batches_what_it_was_evaluated_on(
    framework: str, stores: dict[str, tuple[Path, Outcome]]
):
    place, outcome = stores[framework]
    assert outcome.code == 0, outcome.err
    count = find_task(SYSTEMS[framework]).dataset.test_count
    [verification] = audit.verify([place])
    assert verification.ok, verification.checks
    [record] = store.read_runs([place])
    seen = inference.inference_of(record)
    assert seen is not None
    assert inference.fault_of(record, seen) is None
    most = min(PREDICT_BATCH, count)
    assert list(seen.calls) == [1, 8, 64, most]
    if framework == "jax":  # a program for each new shape, made before anything counts
        for calls in (seen.calls[8], seen.calls[64]):
            assert calls.first_s is not None
            assert calls.first_s > 3 * np.median(calls.seconds)

    rows = [row for row in outcome.json() if row["measure"].startswith("inference_")]
    rates = {r["facts"]["batch"]: r["value"] for r in rows if "throughput" in r["measure"]}
    assert set(rates) == {"1", "8", "64", str(most)}
    assert rates["64"] > rates["1"]
    [dawnbench] = [row for row in rows if row["measure"] == "inference_latency_dawnbench"]
    [middle] = [
        row
        for row in rows
        if row["measure"] == "inference_latency_p50" and row["facts"]["batch"] == "1"
    ]
    assert middle["value"] > 0
    if record.status == "reached" and len(seen.calls[1].seconds) >= count:
        assert dawnbench["value"] == pytest.approx(seen.calls[1].seconds[:count].mean())
    else:
        assert dawnbench["value"] is None
    page = (place / "report.html").read_text(encoding="utf-8")
    assert "with the trained model, 1 run" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["digits-cnn", "--inference=0"], "Allowed: 0.1s and more"),
        (["digits-cnn", "--inference=soon"], "Not a duration"),
        (["allreduce", "--inference=10s"], "--inference 10.0 does not fit allreduce"),
        (
            ["train.py", "--task=digits-cnn", "--division=open", "--inference=10s"],
            "does not fit a script",
        ),
    ],
)
def test_what_predicts_nothing_of_ours_is_refused(
    arguments: list[str],
    words: str,
    call: Callable[..., Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("print()\n", encoding="utf-8")
    seen = call("run", *arguments)
    assert seen.code == 1
    assert words in " ".join(seen.err.split())


def test_a_probe_trains_no_model_to_predict_with(tmp_path: Path):
    with pytest.raises(UsageError, match="does not fit a probe"):
        outlook.probe("digits-cnn", inference_s=10.0, store_dir=tmp_path)
