"""Scalars of a folder as TensorBoard itself reads them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

from timetrial.errors import CannotExamineError
from timetrial.examine.scene import Scene

TAG: Final = "loss"
VALUES: Final = (0.75, 0.5, 0.25)  # by step, from 0; float32 holds them exactly


def require_tensorboard() -> None:
    """Raise where TensorBoard is not installed.

    Raises:
        CannotExamineError: It is not.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise CannotExamineError("TensorBoard is not installed: pip install 'timetrial[course]'")


def answer(scene: Scene, folder: Path) -> None:
    """Answer whether TensorBoard finds VALUES under TAG in the folder."""
    import tensorboard

    seen = read_scalars(folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    scene.answer(
        "tensorboard",
        seen == dict(enumerate(VALUES)),
        facts={
            "read": ", ".join(f"{step}: {value:g}" for step, value in seen.items()),
            "tensorboard": tensorboard.__version__,
            "bytes": str(sum(path.stat().st_size for path in files)),
        },
    )


def read_scalars(folder: Path) -> dict[int, float]:
    """Return step -> value of TAG, from all event files in the folder."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    seen: dict[int, float] = {}
    for path in sorted(folder.rglob("*tfevents*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.tag == TAG:
                    seen[event.step] = float(tensor_util.make_ndarray(value.tensor))
    return seen
