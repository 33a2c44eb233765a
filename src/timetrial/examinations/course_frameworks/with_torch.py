"""PyTorch, tried row by row."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from typing import Final

import torch

from timetrial.examinations import licences
from timetrial.examinations.course_frameworks import EQUAL, TRAINING_STEPS, event_file
from timetrial.examinations.course_frameworks.breakpoints import Breakpoint
from timetrial.examine.scene import Scene

_HUBCONF: Final = '''\
"""A hub of one model, in a folder."""

dependencies = ["torch"]


def small(outputs=3):
    """Return a linear layer."""
    import torch

    return torch.nn.Linear(8, outputs)
'''


class Net(torch.nn.Module):
    """Two layers: 8 numbers in, 3 out."""

    def __init__(self) -> None:
        """Make both with PyTorch's own weights."""
        super().__init__()
        self.hidden = torch.nn.Linear(8, 16)
        self.out = torch.nn.Linear(16, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the scores of three classes."""
        hidden = torch.relu(self.hidden(inputs))
        scores: torch.Tensor = self.out(hidden)
        return scores


class PyTorch:
    """The PyTorch of this process."""

    def versions(self) -> Mapping[str, str]:
        """Return nothing more: its own setup tells."""
        return {}

    def carry_out(self, scene: Scene) -> None:
        """Do one step, always from the same weights and inputs."""
        torch.manual_seed(0)
        _STEPS[scene.step.name](scene)


def _inputs() -> torch.Tensor:
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(1))


def _licence(scene: Scene) -> None:
    told = licences.licence_in(importlib.metadata.metadata("torch"))
    if told.is_open is None:
        scene.lacks("open_source", f"the licence {told.text!r} is not one that is known here")
    else:
        scene.answer("open_source", told.is_open, facts={"licence": told.text})


def _hardware(scene: Scene) -> None:
    build = torch.version.cuda or torch.version.hip
    scene.answer("gpu_build", bool(build), facts={"cuda or rocm": str(build)})
    has_cudnn = torch.backends.cudnn.is_available()  # type: ignore[no-untyped-call]
    scene.answer("cudnn", bool(has_cudnn))
    scene.answer(
        "tpu",
        importlib.util.find_spec("torch_xla") is not None,
        notes=["torch: TPUs need another package, torch_xla"],
    )
    seen = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    kinds = [kind for kind in ("cuda", "mps", "xpu") if getattr(torch, kind).is_available()]
    scene.find("accelerators", seen, facts={"kinds": ", ".join(kinds) or "none"})


def _visualisation(scene: Scene) -> None:
    event_file.require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    folder = scene.scratch / "events"
    with SummaryWriter(str(folder)) as writer:
        for step, value in enumerate(event_file.VALUES):
            writer.add_scalar(event_file.TAG, value, step)
    event_file.answer(scene, folder)


def _stop_inside() -> Breakpoint:
    return Breakpoint(
        Net.forward, "scores: torch.Tensor", lambda hidden: float(hidden.sum()), "hidden"
    )


def _training_step(model: Net) -> Callable[[], None]:
    """Return a step as PyTorch's own examples write it."""
    inputs, labels = _inputs(), torch.tensor([0, 1, 2, 0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _count_in_training() -> Breakpoint:
    """Return the breakpoint after TRAINING_STEPS steps; the first step is not counted."""
    step = _training_step(Net())
    step()
    stop = _stop_inside()
    for _ in range(TRAINING_STEPS):
        stop.during(step)
    return stop


def _python(scene: Scene) -> None:
    model, stop = Net(), _stop_inside()
    stop.during(lambda: model(_inputs()))
    scene.answer("breakpoint", stop.readable == stop.reached == 1)
    trained = _count_in_training()
    scene.answer(
        "breakpoint_in_training",
        trained.readable == TRAINING_STEPS,
        facts={"reached": f"{trained.reached} of {TRAINING_STEPS}"},
    )


def _production(scene: Scene) -> None:
    model, inputs = Net().eval(), _inputs()
    path = scene.scratch / "net.pt2"
    torch.export.save(torch.export.export(model, (inputs,)), path)
    loaded = torch.export.load(path).module()
    with torch.inference_mode():
        difference = float((loaded(inputs) - model(inputs)).abs().max())
    how = {"how": "torch.export, one file"}
    scene.answer("export", difference <= EQUAL, facts=how)
    scene.find("export_difference", difference)
    scene.find("export_size", path.stat().st_size, facts=how)
    scene.lacks("mobile", "torch: phones need another package, ExecuTorch; it is not tried here")


def _hub(scene: Scene) -> None:
    folder = scene.scratch / "hub"
    folder.mkdir(exist_ok=True)
    (folder / "hubconf.py").write_text(_HUBCONF)
    loaded = torch.hub.load(  # type: ignore[no-untyped-call]
        str(folder), "small", source="local", outputs=5
    )
    scene.answer(
        "hub",
        isinstance(loaded, torch.nn.Linear) and loaded.out_features == 5,
        facts={"how": "torch.hub.load from a folder"},
    )
    if importlib.util.find_spec("torchvision") is None:
        scene.lacks("architectures", "torch: they come with another package, torchvision")
        return
    models = importlib.import_module("torchvision.models")
    scene.find("architectures", len(models.list_models()), facts={"of": "torchvision.models"})


def _graph(scene: Scene) -> None:
    trained = _count_in_training()
    scene.answer("graph_per_step", trained.reached == TRAINING_STEPS)
    scene.find("python_per_step", trained.reached / TRAINING_STEPS, n=TRAINING_STEPS)
    model, inputs = Net().eval(), _inputs()
    traced = torch.export.export(model, (inputs,)).module()
    expected = model(inputs)
    stop = _stop_inside()
    outputs: list[torch.Tensor] = []
    stop.during(lambda: outputs.append(traced(inputs)))
    equal = float((outputs[0] - expected).abs().max()) <= EQUAL
    scene.answer("traced", stop.reached == 0 and equal, facts={"how": "torch.export"})


_STEPS: Final[Mapping[str, Callable[[Scene], None]]] = {
    "licence": _licence,
    "hardware": _hardware,
    "visualisation": _visualisation,
    "python": _python,
    "production": _production,
    "hub": _hub,
    "graph": _graph,
}
