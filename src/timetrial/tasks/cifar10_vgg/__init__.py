"""cifar10-vgg-published and cifar10-vgg16: the training script of cloud-check (document 001).

The script calls its network VGG16, but it has 17 convolutions: both are here, one as the script
is, one as its text says.
"""

from __future__ import annotations

from typing import Final

from timetrial.spec import (
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2d,
    Network,
    Sgd,
    Source,
    Task,
)
from timetrial.tasks.networks import IMPLEMENTATIONS
from timetrial.tasks.networks.pieces import PRECISIONS, cifar10, on_test, scores

PUBLISHED: Final = ((64, 2), (128, 2), (256, 4), (512, 5), (512, 4))  # filters, convolutions
VGG16: Final = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def network(blocks: tuple[tuple[int, int], ...]) -> Network:
    """Return convolutions of 3 × 3 in blocks, each block pooled, and three dense layers."""
    layers: list[Layer] = []
    for filters, count in blocks:
        conv = Conv2d(
            filters=filters, kernel=3, padding=1, activation="relu", init="he_normal_fan_out"
        )
        layers += [*(conv for _ in range(count)), MaxPool2d(size=2)]
    hidden = Dense(units=512, activation="relu", init="uniform_fan_in")
    dropout = Dropout(rate=0.5)
    return Network(layers=(*layers, Flatten(), hidden, dropout, hidden, dropout, scores(10)))


def _task(name: str, title: str, blocks: tuple[tuple[int, int], ...], *notes: str) -> Task:
    return Task(
        name=name,
        version=1,
        title=title,
        dataset=cifar10((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        model=network(blocks),
        loss="cross_entropy",
        optimizer=Sgd(
            learning_rate=0.05,
            momentum=0.9,
            nesterov=False,
            rate_in_velocity=False,
            weight_decay=5e-4,
            schedule=None,
        ),
        step="mini-batch",
        batch_size=128,
        steps_max=1_955,  # 5 epochs of 391
        eval_every_steps=391,
        eval_split="test",
        targets=(on_test(0.55),),
        light_target=on_test(0.15),
        stops_at_target=False,
        measures=("accuracy_with_dropout_on",),
        precisions=PRECISIONS,
        implementations=IMPLEMENTATIONS,
        sources=(
            Source(
                text="srm-soumya/cloud-check, cifar10_classification.py: network, init, optimizer",
                url="https://github.com/srm-soumya/cloud-check",
                read_on="2026-11-22",
            ),
        ),
        notes=(
            *notes,
            "The document trains on all 50,000 images for 5 epochs: the run stops on nothing.",
            "The target is the lower end of the document's 55 to 65 %, read off the test curve. "
            "Its figure was taken with dropout on: that is accuracy_with_dropout_on here.",
            "Without batch normalisation at this learning rate some seeds may never leave a loss "
            "of 2.303: such a run counts as one that missed the target.",
        ),
        light_steps_max=15,
        datasets=("cifar10-jpeg",),
    )


PUBLISHED_TASK: Final = _task(
    "cifar10-vgg-published",
    "CIFAR-10, the network of cloud-check as its script is: 17 convolutions, 5 epochs",
    PUBLISHED,
    "The document calls it VGG16; the script builds 17 convolutions, one more than VGG19 has.",
)
VGG16_TASK: Final = _task(
    "cifar10-vgg16",
    "CIFAR-10, the network of cloud-check as its text says: VGG16, 5 epochs",
    VGG16,
    "VGG16's 13 convolutions with the script's classifier, training and data.",
)
