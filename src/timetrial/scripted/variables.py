"""What a command of the open division is told by its environment."""

from __future__ import annotations

from typing import Final

DATA: Final = "TIMETRIAL_RUN_DATA"
PREDICTIONS: Final = "TIMETRIAL_RUN_PREDICTIONS"
SEED: Final = "TIMETRIAL_RUN_SEED"
TARGET: Final = "TIMETRIAL_RUN_TARGET"
BUDGET_S: Final = "TIMETRIAL_RUN_BUDGET_S"
CORES: Final = "TIMETRIAL_RUN_CORES"
DEVICE: Final = "TIMETRIAL_RUN_DEVICE"
TASK: Final = "TIMETRIAL_RUN_TASK"
CLASSES: Final = "TIMETRIAL_RUN_CLASSES"

MEANINGS: Final[dict[str, str]] = {
    DATA: "folder with train_inputs.npy, train_labels.npy, and so for validation and test",
    PREDICTIONS: "folder that takes files of predictions",
    SEED: "seed of the run",
    TARGET: "accuracy on the test set that counts as reached; missing: none, or no accuracy",
    BUDGET_S: "seconds after which the command is ended; missing: no budget",
    CORES: "CPU cores that it may use",
    DEVICE: "cpu, cuda, cuda:N, rocm, rocm:N, mps, tpu or tpu:N, as asked for",
    TASK: "name of the task",
    CLASSES: "number of classes",
}
