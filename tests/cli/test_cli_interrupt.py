"""Ctrl-C in a real terminal group, then resumption."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import ONE_CORE, Outcome, environment, timetrial_command

PATIENCE_S = 120  # that a run needs to begin, at the very worst


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups on this system")
def test_ctrl_c_stops_cleanly_and_resume_finishes_all_runs(
    timetrial: Callable[..., Outcome], call: Callable[..., Outcome], tmp_path: Path
) -> None:
    store = tmp_path / "all runs"
    shorter = ["--division=open", "--set", "steps_max=204"]  # still seconds after the first look
    command = ["run", "digits-cnn", "--target=1.0", *shorter, "--seeds=2", "--json"]
    command += [*ONE_CORE, "--store", str(store)]
    with subprocess.Popen(
        timetrial_command(*command),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        wait_until(
            lambda: any(
                b"evaluated" in path.read_bytes().lower() for path in store.glob("*/events.0.jsonl")
            )
        )
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert f"timetrial run --resume --store '{store}'" in err
    assert len(list(store.glob("*/plan.json"))) == 2
    assert list(store.glob("*/done.json")) == []
    listed = call("list", "runs", "--json", "--store", store).json()
    assert len(listed) == 2

    resumed = timetrial("run", "--resume", "--json", "--store", store)

    assert resumed.code == 0
    assert len(list(store.glob("*/done.json"))) == 2
    headline = [
        row
        for row in resumed.json()
        if (row["measure"], row["clock"]) == ("time_to_target", "mlperf")
    ]
    assert {row["n"] for row in headline} == {2}
    attempts = [path.read_text().count('"Allocated"') + path.read_text().count('"allocated"')
                for path in store.glob("*/events.launcher.jsonl")]  # fmt: skip
    assert sorted(attempts) == [1, 2]
    verified = call("verify", store)
    assert verified.code == 0, verified.out
