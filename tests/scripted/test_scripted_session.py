"""Real commands on digits-cnn: what counts is the parent's clock and the script's predictions."""

from __future__ import annotations

import math
import os
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil
import pytest
from command_line import ROOT

from timetrial import api, audit, findings, store
from timetrial.engine.events import Ended, Evaluated, Refused, Said, WorkerEvent
from timetrial.errors import UsageError
from timetrial.findings.scripts import script_notes
from timetrial.launch import child
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import Result, supervise
from timetrial.meter.cgroup import Cgroup
from timetrial.plan import Plan, Request, find_task
from timetrial.rows import Row
from timetrial.rundir import RunDir
from timetrial.scripted import command
from timetrial.scripted.command import check_request, hides_code, version_of
from timetrial.spec import Target
from timetrial.stats import measures
from timetrial.store import RunRecord
from timetrial.testing import runs

T = TypeVar("T", bound=WorkerEvent)
Watch = Callable[[object], None]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes are taken in on Linux only")
HEAD = """
    import json, os, signal, subprocess, sys, time
    def say(key, value=None, time_ms=0, **metadata):
        line = dict(time_ms=time_ms, key=key, value=value, metadata=metadata)
        print(":::MLLOG " + json.dumps(line), flush=True)
"""
TRUTH = """
    import numpy as np
    import timetrial
    labels = np.load(os.environ["TIMETRIAL_RUN_DATA"] + "/test_labels.npy")
    half = np.where(np.arange(len(labels)) % 2, labels, (labels + 1) % 10)  # right in every second
"""


def script(folder: Path, *parts: str) -> Path:
    path = folder / "train.py"
    path.write_text("".join(textwrap.dedent(part) for part in (HEAD, *parts)))
    return path


def planned(folder: Path, *parts: str, words: tuple[str, ...] = (), **fields: object) -> Plan:
    command = (str(script(folder, *parts)), *words)
    request = Request(
        task="digits-cnn", division="open", script=command, settings={"sample_every_s": 0}
    )
    return msgspec.structs.replace(runs.resolve(request, seed=7), **fields)


def attempt(run: RunDir, plan: Plan, watch: Watch = lambda events: None) -> Result:
    return supervise(run, plan, LocalLauncher(), watch)


def ran(folder: Path, *parts: str, **fields: object) -> RunRecord:
    """Run the script once to its end."""
    run, plan = runs.place(folder / "store", planned(folder, *parts, **fields))
    result = attempt(run, plan)
    record = store.read_run(run.path)
    assert record.status == result.status is not None
    assert not run.scratch.exists()
    return record


def wait_for_end(file: Path) -> None:
    """Until the process whose number the file holds has ended; nobody may have waited for it."""
    number = int(file.read_text())
    deadline = time.monotonic() + 30
    while True:
        try:
            if psutil.Process(number).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        assert time.monotonic() < deadline, f"process {number} still runs"
        time.sleep(0.02)


def failed_checks(record: RunRecord) -> dict[str, str]:
    [verification] = audit.verify([record.run.path])
    return {check.name: check.detail for check in verification.checks if not check.ok}


def events_of(record: RunRecord, kind: type[T]) -> list[T]:
    return [event for event in record.worker if isinstance(event, kind)]


def rows_of(*records: RunRecord) -> list[Row]:
    found = findings.assemble(records, title="", command="")
    return [row for row in found.rows if row.origin == "measured"]


def notes_of(record: RunRecord) -> str:
    every = [set(row.notes) for row in rows_of(record)]
    return "; ".join(sorted(set.intersection(*every)))


# --- lies ----------------------------------------------------------------------------------------


def test_a_liar_who_hands_in_predictions_is_shown_at_its_true_accuracy_and_flagged(
    tmp_path: Path,
) -> None:
    lie = 'timetrial.record(step=1, accuracy=0.99, predictions=half); say("run_stop")'
    record = ran(tmp_path, TRUTH, lie)
    [seen] = record.evaluations
    assert (record.status, seen.accuracy, seen.examples) == ("budget", 0.5, 360)
    assert "claimed accuracy 0.99 on test, its predictions give 0.5: off by +0.4900" in notes_of(
        record
    )
    assert list(failed_checks(record)) == ["claims"]
    assert "off by +0.4900" in failed_checks(record)["claims"]
    [final] = [row for row in rows_of(record) if row.measure == "final_test_accuracy"]
    assert (final.value, final.division, final.framework) == (0.5, "open", "script")


def test_a_claim_below_the_truth_is_a_finding_too_and_the_truth_counts(tmp_path: Path) -> None:
    record = ran(tmp_path, TRUTH, "timetrial.record(step=1, accuracy=0.2, predictions=labels)")
    assert (record.status, record.evaluations[0].accuracy) == ("reached", 1.0)
    assert "off by -0.8000" in failed_checks(record)["claims"]


def test_a_liar_without_predictions_is_marked_as_not_recomputed_in_every_row(
    tmp_path: Path,
) -> None:
    record = ran(tmp_path, 'say("eval_accuracy", 0.999, epoch_num=3)')
    assert record.status == "reached"
    assert "accuracy as the script reported it, not recomputed" in notes_of(record)
    assert failed_checks(record) == {}
    [event] = events_of(record, Evaluated)
    assert (event.step, event.examples, event.recomputed, event.claimed) == (3, 0, False, 0.999)


def test_one_believed_accuracy_among_recomputed_ones_is_said(tmp_path: Path) -> None:
    mixed = """
        timetrial.record(step=1, predictions=half)
        timetrial.record(step=2, accuracy=0.98)
    """
    record = ran(tmp_path, TRUTH, mixed)
    assert record.status == "reached"
    assert (
        "not recomputed, in 1 of 2 evaluations, among them the one that met the target, in 1 of 1 "
        "runs" in notes_of(record)
    )


def test_a_believed_accuracy_that_did_not_decide_is_not_said_to_have(tmp_path: Path) -> None:
    mixed = """
        timetrial.record(step=1, accuracy=0.5)
        timetrial.record(step=2, predictions=labels)
    """
    record = ran(tmp_path, TRUTH, mixed)
    assert record.status == "reached"
    assert "not recomputed, in 1 of 2 evaluations" in notes_of(record)
    assert "met the target" not in notes_of(record)


def test_a_device_other_than_the_cpu_is_what_the_script_was_told(tmp_path: Path) -> None:
    code = "timetrial.record(step=1, predictions=labels)"
    there = ran(tmp_path, TRUTH, code, device="cuda:1")
    assert "device cuda:1: what the script was told" in notes_of(there)
    here = ran(tmp_path, TRUTH, code)
    assert "what the script was told" not in notes_of(here)


def test_scores_give_a_loss_and_classes_give_none(tmp_path: Path) -> None:
    both = """
        timetrial.record(step=1, predictions=np.asfortranarray(np.eye(10)[labels]))
        timetrial.record(step=2, predictions=labels.astype(np.uint8), split="test")
    """
    record = ran(tmp_path, TRUTH, both)
    assert [seen.accuracy for seen in record.evaluations] == [1.0, 1.0]
    first, second = (seen.loss for seen in record.evaluations)
    assert first == pytest.approx(-1 + math.log(9 + math.e))
    assert second is None
    assert failed_checks(record) == {}
    assert "not recomputed" not in notes_of(record)


def test_sleep_is_on_the_clock_whatever_time_the_lines_tell(tmp_path: Path) -> None:
    sleeper = """
        say("run_start", time_ms=10**12)
        say("eval_accuracy", 0.5, time_ms=10**12 + 1, step=1)
        say("staging_start", time_ms=10**12 + 2)
        time.sleep(1.5)
        say("staging_stop", time_ms=10**12 - 10**6)
        say("eval_accuracy", 0.98, time_ms=10**12 - 10**9, step=2)
        say("run_stop", time_ms=0, status="success")
    """
    record = ran(tmp_path, sleeper)
    before, after = record.evaluations
    waited_s = 1.5 - 0.1  # lines are timed as they are read: a busy parent may read the first late
    assert after.at_s - before.at_s >= waited_s
    target = record.plan.target
    assert target is not None
    time_to = measures.time_to_target(record, target)
    assert time_to is not None
    assert time_to.reached
    assert time_to.seconds >= waited_s
    said = {event.key: event.time_ms for event in events_of(record, Said)}
    assert said["staging_stop"] == 10**12 - 10**6  # kept as said
    assert failed_checks(record) == {}
    assert [part.name for part in record.stretches if part.name in ("eval", "build")] == []


def test_an_accuracy_after_the_budget_does_not_count(tmp_path: Path) -> None:
    late = """
        def last_word(*_):
            say("eval_accuracy", 0.99, step=2)
            os._exit(0)
        signal.signal(signal.SIGTERM, last_word)
        say("eval_accuracy", 0.5, step=1)
        time.sleep(60)
    """
    record = ran(tmp_path, late, budget_s=1.0)
    assert (record.status, record.detail) == ("budget", "time budget")
    assert [seen.accuracy for seen in record.evaluations] == [0.5]
    assert [event.why for event in events_of(record, Refused)] == [
        "step 2: it came after the time budget"
    ]
    assert "do not count" in notes_of(record)
    assert failed_checks(record) == {}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM to ignore")
def test_a_command_that_ignores_the_end_of_its_budget_is_killed(tmp_path: Path) -> None:
    deaf = """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say("eval_accuracy", 0.5, step=1)
        while True: time.sleep(1)
    """
    record = ran(tmp_path, deaf, budget_s=0.8)
    assert record.status == "budget"
    assert events_of(record, Ended)[0].code == -signal.SIGKILL


# --- refused ------------------------------------------------------------------------------------


REFUSED = {
    "wrong number": ("np.save(to + '/a.npy', labels[:-1])", "shape (359,)"),
    "NaN": ("np.save(to + '/a.npy', np.full((360, 10), np.nan))", "they hold NaN"),
    "classes": ("np.save(to + '/a.npy', labels + 1)", "classes 1 to 10; allowed: 0 to 9"),
    "negative": ("np.save(to + '/a.npy', labels - 1)", "classes -1 to 8; allowed: 0 to 9"),
    "floats": ("np.save(to + '/a.npy', labels / 1)", "whole numbers of shape (360,)"),
    "pickle": ("np.save(to + '/a.npy', np.array([{}] * 360))", "type object"),
    "no array": ("open(to + '/a.npy', 'wb').write(b'hello')", "is not an .npy file"),
    "missing": ("pass", "cannot be read"),
    "cut off": (
        "np.save(to + '/b', labels); "
        "open(to + '/a.npy', 'wb').write(open(to + '/b.npy', 'rb').read()[:-3])",
        "cut off",
    ),
    "too large": ("open(to + '/a.npy', 'wb').truncate(10**9)", "at most"),
    "huge header": (
        "import io; f = open(to + '/a.npy', 'wb'); np.lib.format.write_array_header_1_0("
        "f, dict(descr='<f8', fortran_order=False, shape=(10**12,))); f.close()",
        "shape (1000000000000,)",
    ),
    "folder": ("os.mkdir(to + '/a.npy')", "cannot be read"),
    "symlink": (
        "np.save(to + '/b', labels); os.symlink(to + '/b.npy', to + '/a.npy')",
        "cannot be read",
    ),
    "hard link": (
        "np.save(to + '/b', labels); os.link(to + '/b.npy', to + '/a.npy')",
        "is a link",
    ),
    "fifo": ("os.mkfifo(to + '/a.npy')", "no plain file"),
}
NAMES = [
    "../data/test_labels.npy",
    "/etc/passwd",
    "..",
    ".a.npy",
    "a.npy/../../data/test_labels.npy",
    "x\\u0000.npy",
    7,
    None,
    {"a": 1},
]


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes")
def test_predictions_that_cannot_be_trusted_are_refused_each_with_its_reason(
    tmp_path: Path,
) -> None:
    lines = ["to = os.environ['TIMETRIAL_RUN_PREDICTIONS']"]
    for number, (code, _) in enumerate(REFUSED.values()):
        lines.append(code.replace("/a.npy", f"/a{number}.npy").replace("/b", f"/b{number}"))
        lines.append(f"say('eval_accuracy', 1.0, step={number}, predictions='a{number}.npy')")
    lines += [
        f"say('eval_accuracy', 1.0, step={100 + number}, predictions={name!r})"
        for number, name in enumerate(NAMES)
    ]
    record = ran(tmp_path, TRUTH, "\n".join(lines))
    assert record.evaluations == []
    assert record.status == "error"
    assert f"{len(REFUSED) + len(NAMES)} were refused" in record.detail
    reasons = [event.why for event in events_of(record, Refused)]
    for (name, (_, why)), reason in zip(REFUSED.items(), reasons, strict=False):
        assert why in reason, f"{name}: {reason}"
    for reason in reasons[len(REFUSED) :]:
        assert "named by its name alone" in reason
    assert failed_checks(record) == {}


def test_impossible_accuracies_and_steps_are_refused(tmp_path: Path) -> None:
    odd = """
        for value in (97.2, -0.1, "0.9", True, None, [1], 1e999):
            say("eval_accuracy", value, step=1)
        for step in (-1, 1.5, "2", True, 2**60):
            say("eval_accuracy", 0.5, step=step)
        say("eval_accuracy", 0.5, step=1, split="train")
        say("eval_accuracy", 0.5, step=1, split=["test"])
        say("eval_accuracy", 0.6, step=4)
        say("eval_accuracy", 0.99, step=4)
        say("eval_accuracy", 0.99, step=3)
        say("eval_accuracy", 0.61)
    """
    record = ran(tmp_path, odd)
    assert [(seen.step, seen.accuracy) for seen in record.evaluations] == [(4, 0.6), (5, 0.61)]
    [ended] = events_of(record, Ended)
    assert (ended.refused, ended.malformed) == (15, 1)  # Infinity is not JSON
    assert failed_checks(record) == {}


# --- what stands on standard output --------------------------------------------------------------


def test_garbage_torn_and_endless_lines_break_nothing(tmp_path: Path) -> None:
    noise = """
        out = sys.stdout.buffer
        out.write(bytes(range(256)) * 64)
        out.write(b"\\n:::MLLOG {\\"key\\": \\"torn\\n")
        out.write(b":::MLLOG [1, 2]\\n:::MLLOG \\xff\\xfe\\n:::MLLOG " + b"[" * 50000 + b"\\n")
        for _ in range(64): out.write(b"x" * 2**20)
        out.write(b"\\n:::MLLOG " + b"y" * 2**20 + b"\\n")
        out.write(b"\\r 99% |####| [rank 3] :::MLLOG {\\"key\\": \\"eval_accuracy\\", ")
        out.flush(); time.sleep(0.3)
        out.write(b"\\"value\\": 0.5, \\"metadata\\": {\\"step\\": 1}}\\r\\n")
        for number in range(300): say("key %d" % number, number)
        out.write(b":::MLLOG {\\"key\\": \\"eval_accuracy\\", \\"value\\": 0.75}")
        out.flush()
    """
    peak = 0

    def look(_: object) -> None:
        nonlocal peak
        for process in psutil.Process().children():
            peak = max(peak, process.memory_info().rss)

    run, plan = runs.place(tmp_path / "store", planned(tmp_path, noise))
    attempt(run, plan, look)
    record = store.read_run(run.path)
    assert [seen.accuracy for seen in record.evaluations] == [0.5, 0.75]  # the last had no end
    [ended] = events_of(record, Ended)
    assert ended.malformed == 5
    assert ":::MLLOG {" in ended.first_malformed
    assert ended.lines["other keys"] == 101
    assert "5 malformed :::MLLOG lines" in notes_of(record)
    content = run.stdout(0).read_bytes()
    assert bytes(range(256)) * 64 in content
    assert content.count(b"x") >= 64 * 2**20
    assert 0 < peak < 400 * 2**20


def test_line_endings_and_terminal_codes_of_a_script_do_not_reach_the_notes(
    tmp_path: Path,
) -> None:
    record = ran(tmp_path, 'print(":::MLLOG \\x1b[31m{oops"); sys.exit("\\x1b[2J[bold]no")')
    assert record.status == "error"
    assert "\x1b" not in record.detail + notes_of(record)
    assert "exit code 1" in record.detail


# --- ends -----------------------------------------------------------------------------------------


def test_a_nonzero_exit_is_an_error_that_quotes_the_last_lines(tmp_path: Path) -> None:
    record = ran(tmp_path, 'say("eval_accuracy", 0.5); raise ValueError("the made-up reason")')
    assert record.status == "error"
    assert "exit code 1" in record.detail
    assert "ValueError: the made-up reason" in record.detail


def test_a_command_that_reports_nothing_is_an_error_that_says_how_to(tmp_path: Path) -> None:
    record = ran(tmp_path, "print('done')")
    assert record.status == "error"
    assert "timetrial.record" in record.detail


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_a_command_that_a_signal_ends_was_killed(tmp_path: Path) -> None:
    record = ran(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert record.status == "killed"
    assert "signal 9" in record.detail


def test_a_memory_error_is_out_of_memory(tmp_path: Path) -> None:
    assert ran(tmp_path, "raise MemoryError").status == "out_of_memory"


def test_the_launchers_timeout_is_the_commands_too(tmp_path: Path) -> None:
    plan = planned(tmp_path, "time.sleep(600)")
    looks = msgspec.structs.replace(plan.rhythm, timeout_s=2.5)
    run, named = runs.place(tmp_path / "store", msgspec.structs.replace(plan, rhythm=looks))
    assert attempt(run, named).status == "timeout"
    assert not run.scratch.exists()


def test_a_launcher_that_kills_its_job_ends_the_command_too(tmp_path: Path) -> None:
    begin = "open('new', 'w').write(str(os.getpid())); os.rename('new', 'pid'); time.sleep(600)"
    plan = planned(tmp_path, begin, script_folder=str(tmp_path))
    run, named = runs.place(tmp_path / "store", plan)
    with LocalLauncher().start(run, named, 0) as job:
        deadline = time.monotonic() + 120
        while not (tmp_path / "pid").exists():
            assert time.monotonic() < deadline, "it never began"
            time.sleep(0.02)
        job.kill()
        while job.poll() is None:
            time.sleep(0.02)
    wait_for_end(tmp_path / "pid")


@LINUX
@pytest.mark.parametrize("how", ["child", "daemon"])
def test_a_process_that_outlives_the_command_is_killed_and_counted(
    how: str, tmp_path: Path
) -> None:
    code = """
        code = "import time; time.sleep(600)"
        detached = dict(start_new_session=True) if sys.argv[1] == "daemon" else {}
        child = subprocess.Popen([sys.executable, "-c", code], **detached)
        open("pid", "w").write(str(child.pid))
        say("eval_accuracy", 0.99)
    """
    record = ran(tmp_path, code, words=(how,), script_folder=str(tmp_path))
    assert record.status == "reached"
    assert events_of(record, Ended)[0].outlived == 1
    wait_for_end(tmp_path / "pid")
    assert "1 processes outlived" in notes_of(record)


@LINUX
def test_a_worker_that_is_killed_takes_its_command_along(tmp_path: Path) -> None:
    run, plan = runs.place(
        tmp_path / "store",
        planned(
            tmp_path,
            "open('pid', 'w').write(str(os.getpid())); say('a'); time.sleep(600)",
            script_folder=str(tmp_path),
        ),
    )

    def kill_worker(_: object) -> None:
        if b'"said"' in (run.events(0).read_bytes() if run.events(0).exists() else b""):
            for worker in psutil.Process().children():
                worker.kill()

    assert attempt(run, plan, kill_worker).status is None
    wait_for_end(tmp_path / "pid")


@LINUX
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize("how", ["child", "daemon"])
def test_a_worker_that_is_killed_without_a_control_group_leaves_nothing_behind(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "open_cgroup", lambda *_, **__: Cgroup(None, refusal="a test"))
    code = """
        detached = dict(start_new_session=True) if sys.argv[1] == "daemon" else {}
        shell = "sleep 600 & echo $! > pid; wait"  # the command's child, and a child of its own
        subprocess.Popen(["bash", "-c", shell], **detached)
        while not os.path.exists("pid") or not open("pid").read(): time.sleep(0.01)
        say("a")
        time.sleep(600)
    """
    plan = planned(tmp_path, code, words=(how,), script_folder=str(tmp_path))
    run, named = runs.place(tmp_path / "store", plan)

    def kill_worker(_: object) -> None:
        if b'"said"' in (run.events(0).read_bytes() if run.events(0).exists() else b""):
            for worker in psutil.Process().children():
                worker.kill()

    assert attempt(run, named, kill_worker).status is None
    wait_for_end(tmp_path / "pid")
    seen = psutil.process_iter(["cmdline"])  # None: has ended, and nobody has waited for it
    left = [" ".join(process.info["cmdline"] or ()) for process in seen]
    assert [words for words in left if "echo $! > pid; wait" in words] == []


def test_a_script_that_is_resumed_starts_anew_and_what_it_said_before_does_not_count(
    tmp_path: Path,
) -> None:
    code = """
        again = os.path.exists("begun")
        open("begun", "w").close()
        say("eval_accuracy", 0.3 if again else 0.9, step=0 if again else 5)
        if not again: time.sleep(600)
        say("eval_accuracy", 0.98, step=7)
    """
    run, plan = runs.place(tmp_path / "store", planned(tmp_path, code, script_folder=str(tmp_path)))
    interrupted = False

    def interrupt(events: object) -> None:
        nonlocal interrupted
        said = b'"evaluated"' in (run.events(0).read_bytes() if run.events(0).exists() else b"")
        if said and not interrupted:
            interrupted = True
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(run, plan, interrupt)
    stopped = store.read_run(run.path)
    assert (stopped.status, stopped.attempts) == (None, 1)
    assert not run.scratch.exists()
    [record] = api.resume([run.path])
    assert (record.status, record.attempts) == ("reached", 2)
    assert [(seen.step, seen.accuracy) for seen in record.evaluations] == [(0, 0.3), (7, 0.98)]
    assert "each from its beginning" in notes_of(record)
    assert failed_checks(record) == {}


# --- what is run ---------------------------------------------------------------------------------


def test_the_environment_says_what_the_script_needs_and_nothing_of_the_workers_place(
    tmp_path: Path,
) -> None:
    code = """
        kept = {k: v for k, v in os.environ.items() if k.startswith("TIMETRIAL_RUN_")}
        files = sorted(os.listdir(kept["TIMETRIAL_RUN_DATA"]))
        ours = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR"} & set(os.environ)
        json.dump([kept, files, sorted(ours)], open("seen.json", "w"))
        say("eval_accuracy", 0.99)
    """
    record = ran(tmp_path, code, budget_s=50.0, script_folder=str(tmp_path))
    told, files, ours = msgspec.json.decode((tmp_path / "seen.json").read_bytes())
    assert ours == []
    assert files == sorted(
        f"{split}_{part}.npy"
        for split in ("train", "validation", "test")
        for part in ("inputs", "labels")
    )
    assert told["TIMETRIAL_RUN_SEED"] == "7"
    assert told["TIMETRIAL_RUN_TARGET"] == "0.97"
    assert 40 < float(told["TIMETRIAL_RUN_BUDGET_S"]) <= 50
    assert told["TIMETRIAL_RUN_TASK"] == "digits-cnn"
    assert told["TIMETRIAL_RUN_CLASSES"] == "10"
    assert told["TIMETRIAL_RUN_CORES"] == str(record.plan.cores)


def test_the_script_is_kept_and_one_that_was_changed_does_not_run(tmp_path: Path) -> None:
    plan = planned(tmp_path, 'say("eval_accuracy", 0.99)')
    whole = ran(tmp_path, 'say("eval_accuracy", 0.99)')
    assert whole.run.script("train.py").read_bytes() == (tmp_path / "train.py").read_bytes()
    run, named = runs.place(tmp_path / "store", plan)
    script(tmp_path, 'say("eval_accuracy", 1.0)')
    result = attempt(run, named)
    assert result.status == "error"
    assert "was changed since the run was planned" in result.reason


@pytest.mark.skipif(shutil.which("sh") is None, reason="no sh")
def test_any_program_on_path_or_executable_file_is_a_command(tmp_path: Path) -> None:
    line = ':::MLLOG {"key": "eval_accuracy", "value": 0.98, "time_ms": 0, "metadata": {}}'
    (tmp_path / "say.sh").write_text(f"#!/bin/sh\necho '{line}'\n")
    (tmp_path / "say.sh").chmod(0o755)
    for words in (("sh", str(tmp_path / "say.sh"), "--x", "1"), (str(tmp_path / "say.sh"),)):
        request = Request(
            task="digits-cnn", division="open", script=words, settings={"sample_every_s": 0}
        )
        run, plan = runs.place(tmp_path / "store", runs.resolve(request, seed=1))
        assert plan.script_file == str(tmp_path / "say.sh")
        assert attempt(run, plan).status == "reached"


def test_every_text_file_that_a_word_names_is_kept_and_tells_systems_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train = script(tmp_path)
    (tmp_path / "conf.yaml").write_text("rate: 1\n")
    (tmp_path / "more.toml").write_text("x = 1\n")
    (tmp_path / "weights.bin").write_bytes(b"\0\1")
    words = ("conf.yaml", "train.py", "--more=more.toml", "weights.bin", "no-file")
    asked = Request(task="digits-cnn", division="open", script=(sys.executable, *words))

    plan = runs.resolve(asked, seed=1)

    assert plan.script_file == str(tmp_path / "conf.yaml")
    assert [Path(path).name for path in plan.script_others] == ["train.py", "more.toml"]
    run, _ = runs.place(tmp_path / "store", plan)
    assert run.script("train.py").read_bytes() == train.read_bytes()
    assert run.script("conf.yaml").is_file()
    versions = {version_of(plan)}
    for name in ("conf.yaml", "train.py", "more.toml"):
        with (tmp_path / name).open("a") as file:
            file.write("# changed\n")
        versions.add(version_of(runs.resolve(asked, seed=1)))
    assert len(versions) == 4
    result = attempt(run, msgspec.structs.replace(plan, run=run.path.name))
    assert result.status == "error"
    assert "conf.yaml was changed since the run was planned" in result.reason


def test_a_configuration_that_was_changed_after_planning_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "conf.yaml").write_text("rate: 1\n")
    plan = planned(tmp_path, 'say("eval_accuracy", 0.99)', words=(str(tmp_path / "conf.yaml"),))
    run, named = runs.place(tmp_path / "store", plan)
    (tmp_path / "conf.yaml").write_text("rate: 2\n")
    result = attempt(run, named)
    assert result.status == "error"
    assert "conf.yaml was changed since the run was planned" in result.reason


def test_a_copy_of_a_configuration_that_was_changed_afterwards_is_found(tmp_path: Path) -> None:
    (tmp_path / "conf.yaml").write_text("rate: 1\n")
    code = 'say("eval_accuracy", 0.99)'
    plan = planned(tmp_path, code, words=(str(tmp_path / "conf.yaml"),))
    run, named = runs.place(tmp_path / "store", plan)
    assert attempt(run, named).status == "reached"
    assert failed_checks(store.read_run(run.path)) == {}
    run.script("conf.yaml").chmod(0o644)
    run.script("conf.yaml").write_text("rate: 3\n")
    assert "script.conf.yaml is not the script that ran" in str(
        failed_checks(store.read_run(run.path))
    )


@pytest.mark.parametrize(
    ("words", "hidden"),
    [
        (("-m", "package"), True),
        (("-u", "-m", "package", "conf.yaml"), True),
        (("-c", "print(1)"), True),
        (("-c", "pass;" * 2000), True),
        (("conf.yaml",), False),
        (("-u", "conf.yaml", "-c", "more"), False),
        (("nothing",), True),
    ],
)
def test_rows_say_where_no_file_of_the_code_is_known(
    words: tuple[str, ...], hidden: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf.yaml").write_text("rate: 1\n")
    asked = Request(task="digits-cnn", division="open", script=(sys.executable, *words))
    plan = runs.resolve(asked, seed=1)
    assert hides_code(plan) is hidden
    run, _ = runs.place(tmp_path / "store", plan)
    notes = script_notes([store.read_run(run.path)])
    assert any("no file of the code that ran is known" in note for note in notes) is hidden


@LINUX
def test_a_file_of_the_command_that_cannot_be_read_is_refused_in_words() -> None:
    asked = Request(task="digits-cnn", division="open", script=(sys.executable, "/proc/self/mem"))
    with pytest.raises(UsageError, match=r"/proc/self/mem.*cannot be read.*make it readable"):
        runs.resolve(asked, seed=1)


def test_tasks_that_a_script_cannot_follow_are_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Request(task="imagenet-resnet50", division="open", script=(str(script(tmp_path)),))
    with pytest.raises(UsageError, match=r"learned by its top5_accuracy.*accuracy or error_rate"):
        check_request(base)
    by_loss = Target(metric="loss", threshold=0.1, direction="at_most", split="test")
    for name, changed, words in (
        ("by-loss", {"targets": (by_loss,)}, "learned by its loss"),
        ("decoded", {}, "decoded when asked for"),
    ):
        task = msgspec.structs.replace(find_task("digits-cnn"), name=name, **changed)
        if name == "decoded":
            view = msgspec.structs.replace(task.dataset, train_view="resized_crop_flip")
            task = msgspec.structs.replace(task, dataset=view)
        monkeypatch.setattr(command, "find_task", lambda _, task=task: task)
        with pytest.raises(UsageError, match=words):
            check_request(msgspec.structs.replace(base, task=name))


def test_scripts_of_one_name_and_other_content_are_not_averaged(tmp_path: Path) -> None:
    records = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        records.append(ran(folder, f'say("eval_accuracy", 0.99); number = {number}'))
    headline = [
        row for row in rows_of(*records) if (row.measure, row.clock) == ("time_to_target", "mlperf")
    ]
    assert [row.n for row in headline] == [1, 1]
    [verdict] = findings.assemble(records, title="", command="").verdicts
    assert any("not the same work" in note for note in verdict.notes)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"division": "closed"}, "Add --division open"),
        ({"precision": "float32"}, "it chooses its own"),
        ({"settings": {"batch_size": 3}}, "--set batch_size does not fit a script"),
        ({"framework": "no such thing!"}, "is no label"),
        ({"script": ("./missing.py",)}, "There is no script ./missing.py"),
        ({"script": ("./missing",)}, "is not there"),
        ({"script": ("no-such-program-anywhere",)}, "no such program on PATH"),
        ({"script": (str(ROOT / "README.md"),)}, "is not executable"),
    ],
)
def test_what_a_script_cannot_be_asked_for_is_refused_in_words(
    fields: dict[str, object], words: str, tmp_path: Path
) -> None:
    base = Request(task="digits-cnn", division="open", script=(str(script(tmp_path)),))
    with pytest.raises(UsageError, match=words):
        runs.resolve(msgspec.structs.replace(base, **fields), seed=1)


def test_the_python_call_takes_the_command_as_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = script(tmp_path)
    monkeypatch.chdir(tmp_path)
    for given in ("train.py", ["train.py", "--x"], (Path("train.py"), "--x")):
        [plan] = api.plans("digits-cnn", seeds=1, division="open", script=given)
        assert plan.script[:2] == (sys.executable, str(path))
        assert plan.script[2:] == (() if isinstance(given, str) else ("--x",))
    with pytest.raises(UsageError, match="is no command"):
        api.plans("digits-cnn", division="open", script=[1])


def test_a_label_names_the_framework(tmp_path: Path) -> None:
    request = Request(
        task="digits-cnn", division="open", script=(str(script(tmp_path)),), framework="mxnet-2"
    )
    assert runs.resolve(request, seed=1).framework == "mxnet-2"


def test_an_old_plan_without_a_script_still_reads(tmp_path: Path) -> None:
    plan = runs.resolve(Request(task="digits-cnn"), seed=1)
    fields = {k: v for k, v in msgspec.to_builtins(plan).items() if not k.startswith("script")}
    assert msgspec.convert(fields, Plan) == plan
    assert os.fspath(tmp_path)
