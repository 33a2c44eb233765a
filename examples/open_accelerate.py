r"""Open division: Hugging Face accelerate. Needs: pip install 'timetrial[examples]'

timetrial run examples/open_accelerate.py --division open --task digits-cnn --framework accelerate \
    --target 0.95
"""

import os

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import timetrial

folder = os.environ["TIMETRIAL_RUN_DATA"]
target = float(os.environ["TIMETRIAL_RUN_TARGET"])


def load(name: str) -> torch.Tensor:
    """Return a file of the task's data as a tensor."""
    return torch.from_numpy(np.load(f"{folder}/{name}.npy"))


set_seed(int(os.environ["TIMETRIAL_RUN_SEED"]) % 2**32)
kind, _, number = os.environ["TIMETRIAL_RUN_DEVICE"].partition(":")
if kind in ("cuda", "rocm"):  # PyTorch calls both cuda
    torch.cuda.set_device(int(number or 0))
accelerator = Accelerator(cpu=kind == "cpu")
if accelerator.device.type != {"rocm": "cuda"}.get(kind, kind):
    raise SystemExit(f"--device {kind} cannot be followed: accelerate uses {accelerator.device}.")
data = TensorDataset(load("train_inputs").flatten(1).float() / 16, load("train_labels"))
tests, answers = load("test_inputs").flatten(1).float() / 16, load("test_labels")
network = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
model, optimizer, batches = accelerator.prepare(
    network,
    torch.optim.Adam(network.parameters(), lr=0.005),
    DataLoader(data, batch_size=32, shuffle=True),
)
for epoch in range(1, 61):
    for inputs, labels in batches:
        optimizer.zero_grad()
        accelerator.backward(nn.functional.cross_entropy(model(inputs), labels))
        optimizer.step()
    with torch.no_grad():
        scores = model(tests.to(accelerator.device)).cpu()
    timetrial.record(step=epoch * len(batches), predictions=scores)
    if (scores.argmax(1) == answers).float().mean() >= target:
        break
