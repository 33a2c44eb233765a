r"""Open division: PyTorch Lightning. Needs: pip install 'timetrial[examples]'

timetrial run examples/open_lightning.py --division open --task digits-cnn --framework lightning \
    --target 0.95
"""

import logging
import os
import warnings

import numpy as np
import pytorch_lightning as lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import timetrial

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # no tips, no advertisement
warnings.filterwarnings("ignore", module="pytorch_lightning")
folder = os.environ["TIMETRIAL_RUN_DATA"]


def load(name: str) -> torch.Tensor:
    """Return a file of the task's data as a tensor."""
    return torch.from_numpy(np.load(f"{folder}/{name}.npy"))


tests, answers = load("test_inputs").flatten(1).float() / 16, load("test_labels")


class Classifier(lightning.LightningModule):
    """A small network that reports after every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        inputs, labels = batch
        return nn.functional.cross_entropy(self.layers(inputs), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.005)

    def on_train_epoch_end(self) -> None:
        with torch.no_grad():
            scores = self.layers(tests.to(self.device)).cpu()
        timetrial.record(step=self.global_step, predictions=scores)
        accuracy = float((scores.argmax(1) == answers).float().mean())
        self.trainer.should_stop = accuracy >= float(os.environ["TIMETRIAL_RUN_TARGET"])


lightning.seed_everything(int(os.environ["TIMETRIAL_RUN_SEED"]) % 2**32, verbose=False)
data = TensorDataset(load("train_inputs").flatten(1).float() / 16, load("train_labels"))
kind, _, number = os.environ["TIMETRIAL_RUN_DEVICE"].partition(":")
accelerators = {"cpu": "cpu", "cuda": "cuda", "rocm": "cuda", "mps": "mps"}  # PyTorch calls both so
if kind not in accelerators:
    raise SystemExit(f"--device {kind} cannot be followed. Allowed: {', '.join(accelerators)}.")
trainer = lightning.Trainer(
    max_epochs=60,
    accelerator=accelerators[kind],
    devices=[int(number or 0)] if accelerators[kind] == "cuda" else 1,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Classifier(), DataLoader(data, batch_size=32, shuffle=True))
