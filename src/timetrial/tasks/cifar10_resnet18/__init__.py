"""cifar10-resnet18: the training script of platform-benchmark (document 000), from scratch."""

from __future__ import annotations

from typing import Final

import msgspec

from timetrial.spec import (
    GlobalAveragePool,
    Network,
    Relu,
    Residual,
    Sgd,
    Source,
    Task,
)
from timetrial.tasks.networks import IMPLEMENTATIONS
from timetrial.tasks.networks.pieces import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    NORM,
    PRECISIONS,
    cifar10,
    conv,
    imagenet_stem,
    on_test,
    projection,
    scores,
)


def _block(filters: int, stride: int) -> Residual:
    return Residual(
        body=(conv(filters, stride=stride), NORM, Relu(), conv(filters), NORM),
        shortcut=projection(filters, stride) if stride != 1 else (),
        activation="relu",
    )


def network() -> Network:
    """Return torchvision's ResNet-18 with ten outputs."""
    blocks = [
        _block(filters, 2 if filters > 64 and number == 0 else 1)
        for filters in (64, 128, 256, 512)
        for number in range(2)
    ]
    return Network(layers=(*imagenet_stem(), *blocks, GlobalAveragePool(), scores(10)))


TASK: Final = Task(
    name="cifar10-resnet18",
    version=1,
    title="CIFAR-10, the script of platform-benchmark: ResNet-18 from scratch, 5 epochs",
    dataset=cifar10(IMAGENET_MEAN, IMAGENET_STD),
    model=network(),
    loss="cross_entropy",
    optimizer=Sgd(
        learning_rate=0.1,
        momentum=0.0,
        nesterov=False,
        rate_in_velocity=False,
        weight_decay=0.0,
        schedule=None,
    ),
    step="mini-batch",
    batch_size=512,
    steps_max=485,  # 5 epochs of 97
    eval_every_steps=97,
    eval_split="test",
    targets=(on_test(0.5),),
    light_target=on_test(0.35),
    stops_at_target=False,
    measures=("confusion_matrix",),
    precisions=PRECISIONS,
    implementations=IMPLEMENTATIONS,
    sources=(
        Source(
            text="neuromation/platform-benchmark, branch master: network, optimizer, data",
            url="https://github.com/neuromation/platform-benchmark",
            read_on="2026-11-22",
        ),
        Source(
            text="torchvision's resnet18: layout and initial weights",
            url="https://github.com/pytorch/vision/blob/v0.3.0/torchvision/models/resnet.py",
            read_on="2026-11-22",
        ),
    ),
    notes=(
        "The document starts from weights trained on ImageNet (its 77.9 %); its google-ai branch "
        "does not, and neither does this task. The two accuracies cannot be compared.",
        "The document trains for 5 epochs and stops on nothing; the target is chosen for this "
        "project and read off the test curve.",
    ),
    last_batch="drop",
    light_steps_max=97,
    datasets=("cifar10-jpeg",),
)

WEIGHTED_TASK: Final = msgspec.structs.replace(
    TASK,
    name="cifar10-resnet18-weighted",
    title="CIFAR-10, step 6 of platform-benchmark: ResNet-18 with dogs counting three times",
    class_weights=(1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.0, 1.0),
)
