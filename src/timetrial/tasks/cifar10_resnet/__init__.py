"""cifar10-resnet{20,32,44,56}-v{1,2}: the closed division of MLBench (document 003).

The networks are MLBench's, not the papers': the shortcut of a wider stage is a 1 × 1 convolution
with batch normalisation, and version 2 has neither a last normalisation before the pooling nor a
normalised shortcut.
"""

from __future__ import annotations

from typing import Final

from timetrial.spec import (
    CropFlip,
    GlobalAveragePool,
    Layer,
    Milestones,
    Network,
    PlateauHalving,
    Relu,
    Residual,
    Sgd,
    Source,
    Task,
)
from timetrial.tasks.networks import IMPLEMENTATIONS
from timetrial.tasks.networks.pieces import (
    NORM,
    PRECISIONS,
    cifar10,
    conv,
    on_test,
    projection,
    scores,
)

DEPTHS: Final = (20, 32, 44, 56)
VERSIONS: Final = (1, 2)
STEPS_PER_EPOCH: Final = 391  # 390 batches of 128 and one of 80

DATASET: Final = cifar10((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
SOURCES: Final = (
    Source(
        text="MLBench documentation, closed division, task 1",
        url="https://github.com/mlbench/mlbench-docs",
        read_on="2026-11-22",
    ),
    Source(
        text="mlbench/mlbench-old, October 2018: networks, schedule and preprocessing by its code",
        url="https://github.com/mlbench/mlbench-old",
        read_on="2026-11-22",
    ),
    Source(text="He, Zhang, Ren, Sun, Deep residual learning, arXiv 1512.03385, 4.2"),
    Source(text="He, Zhang, Ren, Sun, Identity mappings in residual networks, arXiv 1603.05027"),
)


def _block(filters: int, stride: int, version: int) -> Residual:
    shortcut = projection(filters, stride) if stride != 1 else ()
    first, second = conv(filters, stride=stride), conv(filters)
    if version == 1:
        body: tuple[Layer, ...] = (first, NORM, Relu(), second, NORM)
        return Residual(body=body, shortcut=shortcut, activation="relu")
    body = (NORM, Relu(), first, NORM, Relu(), second)
    return Residual(body=body, shortcut=shortcut, activation="linear")


def network(depth: int, version: int) -> Network:
    """Return the network of 6 n + 2 layers: three stages of n blocks of 16, 32 and 64 filters."""
    blocks = [
        _block(filters, 2 if filters > 16 and number == 0 else 1, version)
        for filters in (16, 32, 64)
        for number in range((depth - 2) // 6)
    ]
    return Network(layers=(conv(16), NORM, Relu(), *blocks, GlobalAveragePool(), scores(10)))


def _task(depth: int, version: int) -> Task:
    return Task(
        name=f"cifar10-resnet{depth}-v{version}",
        version=1,
        title=f"CIFAR-10, MLBench's ResNet-{depth} version {version}, synchronous SGD, one worker",
        dataset=DATASET,
        model=network(depth, version),
        loss="cross_entropy",
        optimizer=Sgd(
            learning_rate=0.05,  # 0.1 / 256 for each of 128 examples
            momentum=0.9,
            nesterov=True,
            rate_in_velocity=False,
            weight_decay=1e-4,
            schedule=Milestones(
                warmup_steps=5 * STEPS_PER_EPOCH,
                start_factor=1.0,  # 1 / workers: one worker starts where it stays
                milestones=(82 * STEPS_PER_EPOCH, 109 * STEPS_PER_EPOCH),
                factor=0.1,
            ),
        ),
        step="mini-batch",
        batch_size=128,
        steps_max=164 * STEPS_PER_EPOCH,
        eval_every_steps=STEPS_PER_EPOCH,
        eval_split="test",
        targets=(on_test(0.7), on_test(0.8), on_test(0.9), on_test(0.97)),
        light_target=on_test(0.5),
        stops_at_target=True,
        measures=("accuracy_after_2_hours",),
        precisions=PRECISIONS,
        implementations=IMPLEMENTATIONS,
        sources=SOURCES,
        notes=(
            "The document tests on the test set while it trains, and so does this task: it "
            "stops on test. On training accuracy, which it allows too: --eval-split train.",
            "The document's 97 % is beyond these networks (its own picture ends near 93 %): a run "
            "that asks for it ends after 164 epochs, right-censored.",
            "97 % is the highest target: without --target a run does all 164 epochs.",
        ),
        augmentation=CropFlip(padding=4, flip=True),
        light_steps_max=STEPS_PER_EPOCH,
        datasets=("cifar10-jpeg",),
        eval_splits=("train",),
        scaling="linear",
    )


TASKS: Final = {
    task.name: task for task in (_task(depth, version) for depth in DEPTHS for version in VERSIONS)
}

_REFERENCE_2020: Final = Task(
    name="cifar10-resnet20-v1-2020",
    version=1,
    title="CIFAR-10, MLBench's reference of 2020: ResNet-20 version 1, plateau halving, one worker",
    dataset=DATASET,
    model=network(20, 1),
    loss="cross_entropy",
    optimizer=Sgd(
        learning_rate=0.02,
        momentum=0.9,
        nesterov=False,
        rate_in_velocity=False,
        weight_decay=1e-4,
        schedule=PlateauHalving(
            warmup_steps=0,  # log2(workers) epochs
            start_factor=1.0,
            patience=1,
            threshold=0.01,
            floor_factor=1.0,  # 1 / workers: the floor is the rate of one worker
        ),
    ),
    step="mini-batch",
    batch_size=128,
    steps_max=164 * STEPS_PER_EPOCH,
    eval_every_steps=STEPS_PER_EPOCH,
    eval_split="test",
    targets=(on_test(0.7), on_test(0.8)),
    light_target=on_test(0.5),
    stops_at_target=True,
    measures=(),
    precisions=PRECISIONS,
    implementations=IMPLEMENTATIONS,
    sources=(
        Source(
            text="mlbench-core 3.0 and mlbench-benchmarks, 2020: by their code",
            url="https://github.com/mlbench/mlbench-benchmarks",
            read_on="2026-11-22",
        ),
    ),
    notes=(
        "The documentation of 2020 says Nesterov momentum, its code does not use it; the code "
        "made the published figures.",
        "It stops on test, as the reference does.",
        "With one worker the floor of the learning rate is the rate itself: it never falls.",
    ),
    augmentation=CropFlip(padding=4, flip=True),
    light_steps_max=STEPS_PER_EPOCH,
    datasets=("cifar10-jpeg",),
    eval_splits=("train",),
    scaling="linear",
)

V1_20, V2_20 = TASKS["cifar10-resnet20-v1"], TASKS["cifar10-resnet20-v2"]
V1_32, V2_32 = TASKS["cifar10-resnet32-v1"], TASKS["cifar10-resnet32-v2"]
V1_44, V2_44 = TASKS["cifar10-resnet44-v1"], TASKS["cifar10-resnet44-v2"]
V1_56, V2_56 = TASKS["cifar10-resnet56-v1"], TASKS["cifar10-resnet56-v2"]
V1_20_2020: Final = _REFERENCE_2020
