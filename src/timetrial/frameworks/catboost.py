"""CatBoost: its own number of threads; the CPU only."""

from __future__ import annotations

import platform

import catboost

from timetrial.errors import UsageError
from timetrial.frameworks import Setup
from timetrial.spec import Precision


class Catboost:
    """The CatBoost of this process."""

    def setup(self, *, device: str, threads: int, precision: Precision) -> Setup:
        """Say what it is; the model is told its threads when it is made.

        Raises:
            UsageError: Another device than the CPU.
        """
        if device != "cpu":
            raise UsageError(
                f"--device {device} is not possible: catboost sees cpu. Allowed: cpu, or another "
                "--framework."
            )
        return Setup(
            versions={"catboost": catboost.__version__, "python": platform.python_version()},
            threads=threads,
            settings={},
            device_name="cpu",
        )

    def synchronise(self) -> None:
        """Return at once: a CPU has always finished."""
