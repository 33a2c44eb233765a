"""imagenet-resnet50: DAWNBench's row of document 002, 93 % top-5, for owners of the data."""

from __future__ import annotations

from typing import Final

import msgspec

from timetrial.spec import (
    DatasetUse,
    GlobalAveragePool,
    Layer,
    Milestones,
    Network,
    Relu,
    Residual,
    Sgd,
    Source,
    SplitRule,
    Task,
)
from timetrial.tasks.networks.pieces import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    NORM,
    PRECISIONS,
    conv,
    imagenet_stem,
    on_test,
    projection,
    scores,
)

LAST_NORM: Final = msgspec.structs.replace(NORM, initial_scale=0.0)
EPOCH: Final = 5_005  # steps: 5,004 of 256 images and one of 143


def _block(width: int, stride: int, *, first: bool) -> Residual:
    """Return a bottleneck; the 3 × 3 convolution has the stride, and 4 × `width` filters leave."""
    body: tuple[Layer, ...] = (
        *(conv(width, 1), NORM, Relu()),
        *(conv(width, 3, stride), NORM, Relu()),
        *(conv(4 * width, 1), LAST_NORM),
    )
    shortcut = projection(4 * width, stride) if first else ()
    return Residual(body=body, shortcut=shortcut, activation="relu")


def network(classes: int = 1000) -> Network:
    """Return ResNet-50 with that many outputs."""
    blocks = [
        _block(width, 2 if width > 64 and number == 0 else 1, first=number == 0)
        for width, depth in ((64, 3), (128, 4), (256, 6), (512, 3))
        for number in range(depth)
    ]
    return Network(layers=(*imagenet_stem(), *blocks, GlobalAveragePool(), scores(classes)))


TASK: Final = Task(
    name="imagenet-resnet50",
    version=1,
    title="ImageNet (2012) with ResNet-50, to DAWNBench's 93 % top-5; bring the data yourself",
    dataset=DatasetUse(
        name="imagenet",
        input_shape=(224, 224, 3),
        classes=1000,
        train_count=1_281_167,
        validation_count=0,
        test_count=50_000,  # ImageNet calls it validation; the labels of its test set are secret
        split=SplitRule(test_fraction=None, validation_count=0, seed=0),
        divide_by=255.0,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        train_view="resized_crop_flip",
    ),
    model=network(),
    loss="cross_entropy",
    optimizer=Sgd(
        learning_rate=0.1,
        momentum=0.9,
        nesterov=True,
        rate_in_velocity=False,
        weight_decay=1e-4,
        schedule=Milestones(
            warmup_steps=0,
            start_factor=1.0,
            milestones=(30 * EPOCH, 60 * EPOCH, 80 * EPOCH),
            factor=0.1,
        ),
        decays="weights",
    ),
    step="mini-batch",
    batch_size=256,
    steps_max=90 * EPOCH,
    eval_every_steps=EPOCH,
    eval_split="test",
    targets=(on_test(0.93, "top5_accuracy"),),
    light_target=on_test(0.6, "top5_accuracy"),
    stops_at_target=False,
    measures=(),
    precisions=PRECISIONS,
    implementations={"torch": "timetrial.tasks.networks.with_torch:build"},
    sources=(
        Source(
            text="DAWNBench: ImageNet training, the first epoch with 93 % top-5 accuracy",
            url="https://github.com/stanford-futuredata/dawn-bench-entries",
            read_on="2026-11-22",
        ),
        Source(
            text="P. Goyal et al., Accurate, Large Minibatch SGD, arXiv 1706.02677, section 5.1: "
            "Nesterov, rate 0.1 at batch 256, decay 1e-4 but not of batch norm, x 0.1 at epochs "
            "30, 60 and 80 of 90, the last scale of a block begins at 0",
        ),
        Source(
            text="torchvision's resnet50: layout (the stride in the 3 × 3 convolution), "
            "25,557,032 parameters, other initial weights",
            url="https://github.com/pytorch/vision/blob/v0.3.0/torchvision/models/resnet.py",
            read_on="2026-11-22",
        ),
        Source(
            text="PyTorch's ImageNet example: random crop and flip, short side 256 and centre "
            "crop, mean and deviation, the last batch of an epoch kept",
            url="https://github.com/pytorch/examples/blob/main/imagenet/main.py",
            read_on="2026-11-22",
        ),
    ),
    notes=(
        "DAWNBench fixes only data and target; entries chose network, image sizes and schedule "
        "freely. These rules are one published choice, and no entry's; whether they reach 93 % has "
        "not been measured here.",
        "Trains for 90 epochs and stops on nothing, since ImageNet's validation set is the only "
        "labelled one left and stands here as test; the target is read off its curve, as DAWNBench "
        "does. --target 0.93 stops there.",
        "No bias is decayed: the paper decays the last layer's, whose weights begin here as "
        "torchvision's and there normal with deviation 0.01.",
        "The light form's target and length are chosen for this project, not measured.",
    ),
    light_steps_max=5 * EPOCH,
)
