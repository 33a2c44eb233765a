"""A command's process tree: what is left is ended and counted, and nothing waits for ever.

Each test has a process of its own: taking in orphans would change the process of the tests.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("sh") is None, reason="process groups"
)
HEAD = """
    import json, os, sys, time
    from pathlib import Path
    from timetrial.scripted import processes
    from timetrial.scripted.processes import Child

    def ended(*words):
        child = Child(words, Path(), os.environ)
        while child.poll() is None:
            time.sleep(0.01)
        return child
"""


def told(code: str, folder: Path) -> object:
    """What the code prints as JSON."""
    whole = textwrap.dedent(HEAD) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", whole], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("taken_in", [True, False])
def test_what_outlives_the_command_is_ended_and_counted(taken_in: bool, tmp_path: Path) -> None:
    """Also where orphans are not taken in, as on macOS: then by the command's process group."""
    code = f"""
        if not {taken_in}:
            processes._prctl = lambda: None
        child = ended("sh", "-c", "sleep 600 & sleep 600 & echo")
        count = child.end_rest(settle_s=0)
        print(json.dumps([count, child.end_rest(settle_s=0)]))
    """
    assert told(code, tmp_path) == [2, 0]


def test_one_that_ends_by_itself_meanwhile_is_not_counted(tmp_path: Path) -> None:
    code = """
        processes._prctl = lambda: None
        child = ended("sh", "-c", "sleep 0.3 & echo")
        print(json.dumps(child.end_rest(settle_s=10)))
    """
    assert told(code, tmp_path) == 0


def test_the_rest_of_the_pipe_is_not_read_for_ever(tmp_path: Path) -> None:
    code = """
        processes.KILL_S = 0.5
        child = Child(("sh", "-c", "while :; do echo again; done"), Path(), os.environ)
        begun = time.monotonic()
        pieces = sum(1 for _ in child.rest())
        spent = time.monotonic() - begun
        child.kill()
        child.end_rest(settle_s=0)
        print(json.dumps([pieces > 0, spent >= 0.5]))
    """
    assert told(code, tmp_path) == [True, True]
