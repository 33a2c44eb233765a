"""XGBoost: its own number of threads."""

from __future__ import annotations

import platform

import xgboost

from timetrial.errors import UsageError
from timetrial.frameworks import Setup
from timetrial.spec import Precision


class Xgboost:
    """The XGBoost of this process."""

    def setup(self, *, device: str, threads: int, precision: Precision) -> Setup:
        """Say what it is; the booster is told device and threads when it is made.

        Raises:
            UsageError: Neither a CPU nor a GPU that this build can use.
        """
        builds = xgboost.build_info()
        able = ("cpu", "cuda") if builds.get("USE_CUDA") else ("cpu",)
        if device.partition(":")[0] not in able:
            raise UsageError(
                f"--device {device} is not possible: this build of xgboost sees {', '.join(able)}. "
                "Allowed: one of these, or another --framework."
            )
        return Setup(
            versions={"xgboost": xgboost.__version__, "python": platform.python_version()},
            threads=threads,
            settings={},
            device_name=device,
        )

    def synchronise(self) -> None:
        """Return at once: a call returns when it has finished, on a GPU too."""
