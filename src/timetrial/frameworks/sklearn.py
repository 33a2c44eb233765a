"""scikit-learn: threads of its numerical libraries; the CPU only."""

from __future__ import annotations

import platform

import sklearn
from threadpoolctl import threadpool_limits

from timetrial.errors import UsageError
from timetrial.frameworks import Setup
from timetrial.spec import Precision


class Sklearn:
    """The scikit-learn of this process."""

    def setup(self, *, device: str, threads: int, precision: Precision) -> Setup:
        """Limit the numerical libraries to `threads`; estimators compute in their input's type.

        Raises:
            UsageError: Another device than the CPU.
        """
        if device != "cpu":
            raise UsageError(
                f"--device {device} is not possible: sklearn sees cpu. Allowed: cpu, or another "
                "--framework."
            )
        threadpool_limits(limits=threads)
        return Setup(
            versions={"sklearn": sklearn.__version__, "python": platform.python_version()},
            threads=threads,
            settings={},
            device_name="cpu",
        )

    def synchronise(self) -> None:
        """Return at once: a CPU has always finished."""
