"""TensorFlow with Keras, tried row by row. Imported once the framework has chosen the back end."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from timetrial.errors import CannotExamineError
from timetrial.examinations import licences
from timetrial.examinations.course_frameworks import EQUAL, TRAINING_STEPS, event_file
from timetrial.examinations.course_frameworks.breakpoints import Breakpoint
from timetrial.examine.scene import Scene

_DISTRIBUTIONS: Final = ("tensorflow", "tensorflow-cpu")


class Net(keras.Model):  # type: ignore[misc]
    """Two layers: 8 numbers in, 3 out."""

    def __init__(self) -> None:
        """Make both with Keras' own weights."""
        super().__init__()
        self.hidden = keras.layers.Dense(16, activation="relu")
        self.out = keras.layers.Dense(3)

    def call(self, inputs: Any) -> Any:
        """Return the scores of three classes."""
        hidden = self.hidden(inputs)
        scores = self.out(hidden)
        return scores


class TensorFlow:
    """The TensorFlow of this process."""

    def versions(self) -> Mapping[str, str]:
        """Return nothing more: its own setup tells."""
        return {}

    def carry_out(self, scene: Scene) -> None:
        """Do one step, always from the same weights and inputs."""
        keras.utils.set_random_seed(0)
        _STEPS[scene.step.name](scene)


def _inputs() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((4, 8)).astype(np.float32)


def _licence(scene: Scene) -> None:
    [name] = [n for n in _DISTRIBUTIONS if _is_installed(n)][:1]
    told = licences.licence_in(importlib.metadata.metadata(name))
    if told.is_open is None:
        scene.lacks("open_source", f"the licence {told.text!r} is not one that is known here")
    else:
        scene.answer("open_source", told.is_open, facts={"licence": told.text, "package": name})


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _hardware(scene: Scene) -> None:
    build = tf.sysconfig.get_build_info()
    gpu = bool(build.get("is_cuda_build")) or bool(build.get("is_rocm_build"))
    scene.answer("gpu_build", gpu, facts={"cuda": str(build.get("cuda_version", "none"))})
    cudnn = build.get("cudnn_version")
    scene.answer("cudnn", cudnn is not None, facts={"cudnn": str(cudnn or "none")})
    scene.answer(
        "tpu",
        importlib.util.find_spec("libtpu") is not None,
        facts={"api": str(hasattr(tf.distribute, "TPUStrategy"))},
        notes=["TensorFlow: TPUs need another package, libtpu, as tensorflow-tpu brings it"],
    )
    seen = [one for one in tf.config.list_physical_devices() if one.device_type != "CPU"]
    kinds = sorted({one.device_type for one in seen})
    scene.find("accelerators", len(seen), facts={"kinds": ", ".join(kinds) or "none"})


def _visualisation(scene: Scene) -> None:
    event_file.require_tensorboard()
    folder = scene.scratch / "events"
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        for step, value in enumerate(event_file.VALUES):
            tf.summary.scalar(event_file.TAG, value, step=step)
    writer.close()
    event_file.answer(scene, folder)


def _stop_inside() -> Breakpoint:
    return Breakpoint(Net.call, "scores =", lambda hidden: float(hidden.numpy().sum()), "hidden")


def _compiled() -> Net:
    """Return a model that is compiled, and was trained for a step: Keras has its graph."""
    model = Net()
    model.compile(
        optimizer="sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.train_on_batch(_inputs(), np.array([0, 1, 2, 0]))
    return model


def _count_in_training() -> Breakpoint:
    """Return the breakpoint after TRAINING_STEPS steps; the first step is not counted."""
    model, stop = _compiled(), _stop_inside()
    for _ in range(TRAINING_STEPS):
        stop.during(lambda: model.train_on_batch(_inputs(), np.array([0, 1, 2, 0])))
    return stop


def _python(scene: Scene) -> None:
    model = Net()
    model(_inputs())  # makes the weights
    stop = _stop_inside()
    stop.during(lambda: model(_inputs()))
    scene.answer("breakpoint", stop.readable == stop.reached == 1, facts={"why not": stop.why_not})
    trained = _count_in_training()
    scene.answer(
        "breakpoint_in_training",
        trained.readable == TRAINING_STEPS,
        facts={"reached": f"{trained.reached} of {TRAINING_STEPS}"},
        notes=["Keras trains in a graph; run_eagerly=True of compile() would reach it"],
    )


def _production(scene: Scene) -> None:
    model, inputs = Net(), _inputs()
    expected = model(inputs).numpy()
    folder = scene.scratch / "net"
    model.export(str(folder), verbose=False)
    loaded = tf.saved_model.load(str(folder))
    difference = float(np.abs(loaded.serve(inputs).numpy() - expected).max())
    how = {"how": "Model.export, a SavedModel"}
    scene.answer("export", difference <= EQUAL, facts=how)
    scene.find("export_difference", difference)
    files = [path for path in folder.rglob("*") if path.is_file()]
    scene.find("export_size", sum(path.stat().st_size for path in files), facts=how)
    mobile = float(np.abs(_by_lite(folder, inputs) - expected).max())
    scene.answer(
        "mobile",
        mobile <= EQUAL,
        facts={"how": "tf.lite", "difference": f"{mobile:.3g}"},
        notes=["tf.lite goes over to another package, LiteRT (ai-edge-litert)"],
    )


def _by_lite(folder: Path, inputs: np.ndarray) -> np.ndarray:
    """Return the outputs of the exported model in the runtime for phones.

    Raises:
        CannotExamineError: It cannot be converted.
    """
    try:
        content = tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert()
        runtime = tf.lite.Interpreter(model_content=content)
        [taken] = runtime.get_input_details()
        runtime.resize_tensor_input(taken["index"], inputs.shape)
        runtime.allocate_tensors()
        runtime.set_tensor(taken["index"], inputs)
        runtime.invoke()
        [given] = runtime.get_output_details()
    except (AttributeError, RuntimeError, ValueError) as error:
        raise CannotExamineError(
            f"TensorFlow {tf.__version__} converts it not: {str(error).splitlines()[0]}"
        ) from error
    outputs: np.ndarray = runtime.get_tensor(given["index"])
    return outputs


def _hub(scene: Scene) -> None:
    names = [name for name in dir(keras.applications) if name[0].isupper()]
    model = keras.applications.MobileNet(
        weights=None, input_shape=(32, 32, 3), classes=10, alpha=0.25
    )
    scene.answer(
        "hub",
        model.output_shape == (None, 10),
        facts={"how": "keras.applications", "built": "MobileNet without weights"},
    )
    scene.find("architectures", len(names), facts={"of": "keras.applications"})


def _graph(scene: Scene) -> None:
    trained = _count_in_training()
    scene.answer("graph_per_step", trained.reached == TRAINING_STEPS)
    scene.find("python_per_step", trained.reached / TRAINING_STEPS, n=TRAINING_STEPS)
    model, inputs = Net(), _inputs()
    expected = model(inputs).numpy()
    traced = tf.function(model)
    traced(inputs)  # traces
    stop = _stop_inside()
    outputs: list[Any] = []
    stop.during(lambda: outputs.append(traced(inputs)))
    equal = float(np.abs(outputs[0].numpy() - expected).max()) <= EQUAL
    scene.answer("traced", stop.reached == 0 and equal, facts={"how": "tf.function"})


_STEPS: Final[Mapping[str, Callable[[Scene], None]]] = {
    "licence": _licence,
    "hardware": _hardware,
    "visualisation": _visualisation,
    "python": _python,
    "production": _production,
    "hub": _hub,
    "graph": _graph,
}
