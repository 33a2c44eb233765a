"""Groups of their own: joined before the command runs, counted exactly, limited, removed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from timetrial.errors import LaunchError, UsageError
from timetrial.meter.cgroup import JOIN_FAILED_EXIT, Cgroup, open_cgroup
from timetrial.meter.counters import counters_from_arguments
from timetrial.meter.cpu import rusage_cpu_s
from timetrial.meter.hierarchy import own_groups

SHORT_CHILDREN = """
import subprocess, sys
BURN = "import time\\nwhile time.process_time() < 0.08: pass"
for _ in range(30):
    subprocess.run([sys.executable, "-S", "-c", BURN], check=True)
"""


@pytest.fixture
def group():
    with open_cgroup("test") as made:
        if made.refusal is not None:
            pytest.skip(f"no group of its own is allowed here: {made.refusal}")
        yield made


@pytest.fixture
def memory_group():
    try:
        made = open_cgroup("limited", memory_bytes=64 * 2**20)
    except LaunchError as error:
        pytest.skip(str(error))
    with made:
        yield made


def test_short_lived_children_are_counted_by_the_group_and_by_wait4(group: Cgroup):
    command = [*group.join_command_prefix(), sys.executable, "-S", "-c", SHORT_CHILDREN]
    child = subprocess.Popen(command)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    assert group.counters is not None
    counted_s = group.counters.cpu_s()
    assert counted_s is not None
    assert counted_s > 30 * 0.08
    assert counted_s == pytest.approx(rusage_cpu_s(usage), rel=0.15)


def test_a_child_is_in_the_group_before_it_executes_and_keeps_its_number(group: Cgroup):
    code = "print(open('/proc/self/cgroup').read())"
    command = [*group.join_command_prefix(), sys.executable, "-c", code]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    seen, _ = child.communicate()
    for folder in group.folders:
        assert folder.name in seen
    assert group.processes() == []


def test_a_child_in_the_group_is_listed_while_it_runs(group: Cgroup):
    command = [*group.join_command_prefix(), sys.executable, "-c", "print(flush=True); input()"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    assert group.processes() == [child.pid]
    child.communicate(b"\n")


def test_a_child_above_the_memory_limit_is_killed_and_seen_as_out_of_memory(memory_group: Cgroup):
    counters = memory_group.counters
    assert counters is not None
    assert counters.oom_kills() == 0
    code = "held = bytearray(200 * 2**20); held[::4096] = bytes(len(held[::4096]))"
    command = [*memory_group.join_command_prefix(), sys.executable, "-c", code]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert counters.oom_kills() == 1
    peak = counters.peak_bytes()
    assert peak is not None
    assert 60 * 2**20 < peak <= 64 * 2**20


def test_a_child_below_the_memory_limit_ends_well_and_its_peak_is_known(memory_group: Cgroup):
    counters = memory_group.counters
    assert counters is not None
    code = "held = bytearray(30 * 2**20)"
    command = [*memory_group.join_command_prefix(), sys.executable, "-S", "-c", code]
    assert subprocess.run(command, check=False).returncode == 0
    assert counters.oom_kills() == 0
    peak = counters.peak_bytes()
    assert peak is not None
    assert peak >= 30 * 2**20


def test_a_group_is_gone_after_the_block():
    with open_cgroup("removed") as group:
        folders = group.folders
        command = [*group.join_command_prefix(), sys.executable, "-S", "-c", ""]
        assert subprocess.run(command, check=False).returncode == 0
    assert not any(folder.exists() for folder in folders)


def test_a_group_that_still_holds_a_process_stays_with_a_warning(
    group: Cgroup, caplog: pytest.LogCaptureFixture
):
    command = [*group.join_command_prefix(), sys.executable, "-c", "print(flush=True); input()"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    group.close()
    assert str(child.pid) in caplog.text
    child.communicate(b"\n")
    group.close()
    assert not any(folder.exists() for folder in group.folders)


def test_a_limit_stays_inside_the_group_of_this_process(group: Cgroup):
    parents = {own.path for own in own_groups()} | {own.path.parent for own in own_groups()}
    assert all(folder.parent in parents for folder in group.folders)


def test_a_child_that_cannot_enter_runs_nothing(group: Cgroup, tmp_path: Path):
    prefix = group.join_command_prefix()
    group.close()
    done = subprocess.run(
        [*prefix, "touch", str(tmp_path / "ran")], check=False, stderr=subprocess.DEVNULL
    )
    assert done.returncode == JOIN_FAILED_EXIT
    assert not (tmp_path / "ran").exists()


def test_arguments_with_quotes_and_spaces_reach_the_command_unchanged(group: Cgroup):
    said = ["a b", "'; exit 3 #", "$HOME", ""]
    code = "import sys; print(sys.argv[1:])"
    command = [*group.join_command_prefix(), sys.executable, "-c", code, *said]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == repr(said)


def test_the_sampler_is_told_of_the_same_counters(group: Cgroup):
    arguments = [word for word in group.sampler_arguments() if word != "--cgroup"]
    assert counters_from_arguments(arguments) == group.counters


def test_version_2_counts_cpu_seconds_even_without_a_controller():
    with open_cgroup("v2", versions=(2,)) as group:
        if group.counters is None:
            pytest.skip(f"no group of version 2 here: {group.refusal}")
        code = "import time\nwhile time.process_time() < 0.2: pass"
        command = [*group.join_command_prefix(), sys.executable, "-S", "-c", code]
        assert subprocess.run(command, check=False).returncode == 0
        assert group.counters.version == 2
        counted_s = group.counters.cpu_s()
        assert counted_s is not None
        assert 0.2 <= counted_s < 0.4


def test_an_ordinary_user_gets_a_reason_instead_of_a_group():
    said = as_ordinary_user(
        "with open_cgroup('test', versions=(1,)) as group:\n"
        "    print(group.refusal, group.join_command_prefix(), group.sampler_arguments())"
    )
    assert "ermission denied" in said or "no cgroup counters" in said
    assert said.endswith("[] []")


def test_an_ordinary_user_who_asks_for_a_limit_is_told_what_was_tried_and_what_to_do():
    said = as_ordinary_user(
        "try:\n    open_cgroup('test', memory_bytes=2**30)\n"
        "except LaunchError as error:\n    print(error)"
    )
    assert "1.00 GiB" in said
    assert "Tried:" in said
    assert "Next step:" in said


def as_ordinary_user(code: str) -> str:
    if sys.platform == "win32" or os.geteuid() != 0:
        pytest.skip("only root can become another user")
    imports = (
        "import os\nfrom timetrial.errors import LaunchError\n"
        "from timetrial.meter.cgroup import open_cgroup\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    )
    command = [sys.executable, "-c", imports + code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_name_that_could_leave_its_folder_is_refused():
    with pytest.raises(UsageError, match="Not a group name"):
        open_cgroup("../elsewhere")


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(UsageError, match="above 0"):
        open_cgroup("test", memory_bytes=0)


def test_a_group_name_unknown_to_the_sampler_is_refused():
    with pytest.raises(UsageError, match="cpuacct"):
        counters_from_arguments(["blkio=/sys/fs/cgroup"])


@pytest.mark.parametrize(
    ("cgroup", "mount", "expected"),
    [
        ("0::/user.slice/a\n", "/ /sys/fs/cgroup rw - cgroup2 cgroup2 rw", (2, "user.slice/a")),
        ("4:memory:/docker/x\n", "/docker/x /m rw - cgroup cgroup rw,memory", (1, ".")),
        ("2:cpu,cpuacct:/b\n", "/ /c rw - cgroup cgroup rw,cpu,cpuacct", (1, "b")),
        ("2:cpu,cpuacct:/b\n", "/ /a\\040b rw - cgroup cgroup rw,cpu,cpuacct", (1, "b")),
        ("4:memory:/elsewhere\n", "/docker/x /m rw - cgroup cgroup rw,memory", None),
        ("4:memory:/x\n", "/ / rw - ext4 /dev/vda rw", None),
    ],
)
def test_the_own_group_is_found_in_containers_and_on_bare_machines(
    tmp_path: Path, cgroup: str, mount: str, expected: tuple[int, str] | None
):
    (tmp_path / "cgroup").write_text(cgroup)
    (tmp_path / "mountinfo").write_text(f"31 30 0:27 {mount}\n")
    found = [(own.version, str(own.path.relative_to(own.mount))) for own in own_groups(tmp_path)]
    assert found == ([] if expected is None else [expected])


def test_a_system_without_cgroups_has_no_groups(tmp_path: Path):
    assert own_groups(tmp_path) == []


def test_what_a_killed_process_left_is_removed_by_the_next_after_a_while(group: Cgroup):
    parents = {folder.parent for folder in group.folders}
    old, fresh, held = (f"timetrial-swept-{pid}-aaaaaa" for pid in (2**22 - 1, 2**22 - 2, 1))
    long_ago = time.time() - 3600
    try:
        for parent in parents:
            for name in (old, fresh, held):
                (parent / name).mkdir()
            for name in (old, held):
                os.utime(parent / name, (long_ago, long_ago))
        with open_cgroup("another"):
            pass
        for parent in parents:
            assert not (parent / old).exists()
            assert (parent / fresh).exists()  # its process may be out of sight
            assert (parent / held).exists()  # its process runs
    finally:
        for parent in parents:
            for name in (old, fresh, held):
                with contextlib.suppress(FileNotFoundError):
                    (parent / name).rmdir()
