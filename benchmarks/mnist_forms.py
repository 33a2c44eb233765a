"""Seconds per step of mnist-cnn: a plain PyTorch loop against ours, in one process, in turn.

    .venv/bin/python benchmarks/mnist_forms.py [--rounds 7] [--steps 100] [--threads 2]

The plain form is what document 004's network looks like when typed into PyTorch: nn.Module in the
order of the layers, default memory format, F.dropout, torch.optim.SGD. Both do the same steps
with the same batch size; the median over rounds of the ratio plain / ours is printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import torch
from torch import Tensor, nn
from torch.nn import functional

from timetrial import plan as plans
from timetrial.datasets import get, sources
from timetrial.datasets.load import load_splits
from timetrial.spec import Split, Workload
from timetrial.tasks.networks import with_torch


class Plain(nn.Module):
    """The network as one would type it."""

    def __init__(self) -> None:
        """Build the layers."""
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 4), nn.Conv2d(32, 16, 3)
        self.dense1, self.dense2, self.dense3 = (
            nn.Linear(400, 128),
            nn.Linear(128, 64),
            nn.Linear(64, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, shape (batch, 10)."""
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = functional.dropout(x, 0.2, self.training).flatten(1)
        return self.dense3(functional.relu(self.dense2(functional.relu(self.dense1(x)))))


class PlainLoop:
    """Trains the plain network."""

    def __init__(self, train: Split) -> None:
        """Put the data into tensors."""
        self.x = torch.tensor(train.inputs).permute(0, 3, 1, 2).float().contiguous() / 255
        self.y = torch.tensor(train.labels)
        self.net = Plain()
        self.optimizer = torch.optim.SGD(self.net.parameters(), 0.05, 0.9)
        self.order = torch.randperm(len(self.y))
        self.at = 0

    def advance(self, steps: int) -> None:
        """Train for `steps` mini-batches of 128."""
        for _ in range(steps):
            if self.at + 128 > len(self.y):
                self.at, self.order = 0, torch.randperm(len(self.y))
            chosen = self.order[self.at : self.at + 128]
            self.at += 128
            self.optimizer.zero_grad()
            functional.cross_entropy(self.net(self.x[chosen]), self.y[chosen]).backward()
            self.optimizer.step()


def main() -> None:
    """Print the seconds per step of both forms, and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    task = plans.find_task("mnist-cnn")
    files = sources.locate(get("mnist"), sources.search_path(os.environ), fetch=True).files
    splits = load_splits(task.dataset, files)
    work = Workload(task=task, seed=1, device="cpu", precision="float32")
    forms = {
        "plain": PlainLoop(splits["train"]),
        "ours": with_torch.build(work, splits, lambda part: None),
    }
    for form in forms.values():
        form.advance(20)
    ratios = []
    for number in range(options.rounds):
        seconds = {}
        for name, form in forms.items():
            begun = time.perf_counter()
            form.advance(options.steps)
            seconds[name] = (time.perf_counter() - begun) / options.steps
        ratios.append(seconds["plain"] / seconds["ours"])
        print(
            f"round {number + 1}: plain {1e3 * seconds['plain']:.2f} ms, "
            f"ours {1e3 * seconds['ours']:.2f} ms a step, ratio {ratios[-1]:.2f}",
            flush=True,
        )
    print(f"median ratio plain / ours over {len(ratios)} rounds: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
