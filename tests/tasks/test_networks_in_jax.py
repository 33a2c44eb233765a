"""The JAX implementation computes what the NumPy reference does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from own_process import run, run_tests
from small_data import small_splits

from timetrial.errors import UsageError
from timetrial.launch.local import free_port
from timetrial.plan import find_task
from timetrial.spec import Workload
from timetrial.tasks.networks import with_jax
from timetrial.testing.contracts import no_lap


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_jax_is_the_reference():
    ended = run_tests("jax_networks.py")
    assert ended.returncode == 0, ended.stdout[-5000:]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_workers_compile_ahead_resume_and_share_a_mini_batch():
    port = str(free_port())
    with ThreadPoolExecutor() as pool:
        ended = list(pool.map(lambda rank: run("jax_workers.py", rank, port), ("0", "1")))
    assert [process.returncode for process in ended] == [0, 0], ended


@pytest.mark.parametrize(
    ("option", "value"), [("algorithm", "local-sgd:period=8"), ("partition", "iid")]
)
def test_what_several_workers_cannot_do_in_jax_is_refused_by_name(option: str, value: str):
    task = find_task("digits-cnn")
    work = Workload(task=task, seed=3, device="cpu", precision="float32")
    work = msgspec.structs.replace(work, **{option: value})
    with pytest.raises(UsageError, match=f"--{option} {value} .* Allowed: .*--framework torch"):
        with_jax.build(work, small_splits(task), no_lap)
