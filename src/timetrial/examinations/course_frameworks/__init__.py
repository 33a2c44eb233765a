"""course-frameworks: the course's table of PyTorch and TensorFlow, each of its rows tried.

breakpoints      a breakpoint inside a model: whether it is reached, and how often
event_file       what TensorBoard reads of a folder
with_torch       PyTorch
with_tensorflow  TensorFlow, by Keras
"""

from __future__ import annotations

from typing import Final

from timetrial.spec import YES_NO, Examination, ExaminationStep, Sought, Source

TRAINING_STEPS: Final = 5  # after the first, that a breakpoint is counted in
EQUAL: Final = 1e-5  # largest difference of outputs between a model and what was exported of it

FRAMEWORKS: Final = Examination(
    name="course-frameworks",
    version=1,
    title="PyTorch and TensorFlow as the ML tools course compares them, each row tried here",
    steps=(
        ExaminationStep(
            name="licence",
            about="reads the metadata of the installed package",
            seeks=(Sought(measure="open_source", unit=YES_NO, about="open source"),),
        ),
        ExaminationStep(
            name="hardware",
            about="asks the installed build what it computes on",
            seeks=(
                Sought(measure="gpu_build", unit=YES_NO, about="built for GPUs (CUDA or ROCm)"),
                Sought(measure="cudnn", unit=YES_NO, about="cuDNN is part of the build"),
                Sought(measure="tpu", unit=YES_NO, about="can compute on a TPU as installed"),
                Sought(measure="accelerators", unit="count", about="accelerators it sees here"),
            ),
        ),
        ExaminationStep(
            name="visualisation",
            about="writes an event file and has TensorBoard read it",
            seeks=(
                Sought(
                    measure="tensorboard",
                    unit=YES_NO,
                    about="TensorBoard reads the scalars it writes, with steps and values",
                ),
            ),
        ),
        ExaminationStep(
            name="python",
            about="sets a breakpoint inside the model's forward pass",
            seeks=(
                Sought(
                    measure="breakpoint",
                    unit=YES_NO,
                    about="a breakpoint in the model is reached when it is called, values readable",
                ),
                Sought(
                    measure="breakpoint_in_training",
                    unit=YES_NO,
                    about="and in every training step, as the framework trains by default",
                ),
            ),
        ),
        ExaminationStep(
            name="production",
            about="exports a model and loads it again",
            seeks=(
                Sought(measure="export", unit=YES_NO, about="exported and loaded, equal outputs"),
                Sought(
                    measure="export_difference",
                    unit="1",
                    about="largest difference of an output after export and loading",
                ),
                Sought(measure="export_size", unit="byte", about="size of what was exported"),
                Sought(
                    measure="mobile", unit=YES_NO, about="the same for phones (LiteRT, ExecuTorch)"
                ),
            ),
        ),
        ExaminationStep(
            name="hub",
            about="loads a model by name, without the network",
            seeks=(
                Sought(measure="hub", unit=YES_NO, about="a model is made by its name in a hub"),
                Sought(
                    measure="architectures",
                    unit="count",
                    about="architectures that come with it, weights from the network",
                ),
            ),
        ),
        ExaminationStep(
            name="graph",
            about="counts how often the model's Python runs",
            seeks=(
                Sought(
                    measure="graph_per_step",
                    unit=YES_NO,
                    about="the graph is built anew in every training step (dynamic)",
                ),
                Sought(
                    measure="python_per_step",
                    unit="1",
                    about="how often the model's Python runs per training step, after the first",
                ),
                Sought(
                    measure="traced",
                    unit=YES_NO,
                    about="a traced graph of it runs without the model's Python",
                ),
            ),
        ),
    ),
    implementations={
        "torch": "timetrial.examinations.course_frameworks.with_torch:PyTorch",
        "keras-tensorflow": "timetrial.examinations.course_frameworks.with_tensorflow:TensorFlow",
    },
    sources=(
        Source(text="Mila, course on ML tools, slides: PyTorch vs TensorFlow"),
        Source(
            text="PyTorch documentation: torch.export, torch.hub, torch.utils.tensorboard",
            url="https://docs.pytorch.org/docs/stable/index.html",
            read_on="2026-11-23",
        ),
        Source(
            text="TensorFlow and Keras documentation: Model.export, tf.lite, tf.summary",
            url="https://www.tensorflow.org/api_docs/python/tf",
            read_on="2026-11-23",
        ),
    ),
    notes=(
        "Tried is what is installed here: a CPU build has no GPU, whatever the framework could do.",
        "The document names TorchScript; PyTorch's own successor, torch.export, is tried.",
        "Weights of pre-trained models come over the network and are not fetched.",
    ),
    timeout_s=600.0,
    extra="course",
)
