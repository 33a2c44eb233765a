"""Made-up predictions for tests: seconds of a system that a test names."""

from __future__ import annotations

import msgspec

from timetrial.forecast.predict import FORMAT, Prediction
from timetrial.forecast.systems import Probed
from timetrial.stats.forecast import Noise, Pace

NOISE = Noise(sd_log=0.03, degrees=20, systems=2, runs=22)
SYSTEM = Probed(
    task="digits-cnn",
    task_hash="0" * 64,
    dataset="digits",
    framework="torch",
    version="2.13.0+cpu",
    device="cpu",
    cores=1,
    precision="float32",
    machine="Test CPU, 1 core, torch 2.13.0+cpu",
    pace=Pace(step_s=0.01, eval_s=0.1, set_up_s=0.5, start_up_s=2.0, after_s=0.2),
    probe_s=3.0,
    date="2026-11-23",
)


def prediction(
    seconds: float, *, system: Probed = SYSTEM, machine: str | None = None
) -> Prediction:
    """Return a prediction of ± 10 %."""
    own = system if machine is None else msgspec.structs.replace(system, machine=machine)
    return Prediction(
        format=FORMAT,
        id=f"made-up-{own.machine}",
        made_utc="2026-11-23T00:00:00+00:00",
        timetrial="0.1.0",
        task=own.task,
        task_hash=own.task_hash,
        dataset="digits",
        measure="time_to_target",
        target="accuracy >= 0.97 on validation",
        split="validation",
        clock="mlperf",
        system=own,
        workers=1,
        network=None,
        seconds=seconds,
        low_s=0.9 * seconds,
        high_s=1.1 * seconds,
        billed_s=seconds + 2,
        billed_low_s=0.9 * seconds + 2,
        billed_high_s=1.1 * seconds + 2,
        chance_reached=1.0,
        steps=100.0,
        steps_n=20,
        steps_seeds=(1, 2, 3),
        steps_source="20 runs",
        step_s=0.01,
        noise=NOISE,
        noise_source="22 runs of 2 systems here",
    )
