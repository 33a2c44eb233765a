"""course-hardware: what the ML tools course says of hardware, each claim measured (document 002).

overlap     preparing data beside computing, and before it
with_torch  carries the steps out in PyTorch
"""

from __future__ import annotations

from typing import Final

from timetrial.spec import Examination, ExaminationStep, Sought, Source

HARDWARE: Final = Examination(
    name="course-hardware",
    version=1,
    title="The ML tools course's claims on hardware, measured here",
    steps=(
        ExaminationStep(
            name="matrix",
            about="an accelerator multiplies matrices faster than the CPU",
            seeks=(
                Sought(measure="cpu_product", unit="FLOP/s", about="matrix product, fp32, CPU"),
                Sought(
                    measure="one_core_product", unit="FLOP/s", about="the same on one core of it"
                ),
                Sought(
                    measure="cores_speed_up", unit="1", about="all cores over one, matrix product"
                ),
                Sought(
                    measure="cpu_product_bf16", unit="FLOP/s", about="matrix product, bf16, CPU"
                ),
                Sought(
                    measure="accelerator_product",
                    unit="FLOP/s",
                    about="matrix product, fp32, fastest accelerator",
                ),
                Sought(
                    measure="accelerator_speed_up",
                    unit="1",
                    about="accelerator over CPU, matrix product, fp32",
                ),
            ),
        ),
        ExaminationStep(
            name="overlap",
            about="preparing the next batch beside computing takes less time than before it",
            seeks=(
                Sought(
                    measure="overlap_speed_up",
                    unit="1",
                    about="time of a batch, prepared before computing over prepared beside it",
                ),
                Sought(
                    measure="batch_time_before",
                    unit="s",
                    about="time of a batch that is prepared before computing",
                ),
                Sought(
                    measure="batch_time_beside",
                    unit="s",
                    about="time of a batch that is prepared while another is computed",
                ),
                Sought(
                    measure="overlap_most",
                    unit="1",
                    about="the most it could be: preparing plus computing over the longer of both",
                ),
            ),
        ),
        ExaminationStep(
            name="inference",
            about="a CPU is enough to answer one question at a time",
            seeks=(
                Sought(
                    measure="cpu_latency",
                    unit="s",
                    about="median time of one image through a small network, CPU",
                ),
                Sought(
                    measure="cpu_throughput",
                    unit="1/s",
                    about="images per second in batches of 256, CPU",
                ),
                Sought(
                    measure="accelerator_latency",
                    unit="s",
                    about="median time of one image, to the accelerator and back",
                ),
                Sought(
                    measure="accelerator_throughput",
                    unit="1/s",
                    about="images per second in batches of 256, to the accelerator and back",
                ),
                Sought(
                    measure="latency_speed_up",
                    unit="1",
                    about="time of one image, CPU over accelerator",
                ),
            ),
        ),
    ),
    implementations={"torch": "timetrial.examinations.course_hardware.with_torch:Hardware"},
    sources=(
        Source(
            text="Mila, course on ML tools, slides: CPU, GPU and TPU, input pipelines, inference"
        ),
        Source(
            text="PyTorch documentation: torch.utils.data.DataLoader, workers and prefetch_factor",
            url="https://docs.pytorch.org/docs/stable/data.html",
            read_on="2026-11-23",
        ),
    ),
    notes=(
        "The products are this machine's ceilings as `timetrial machine` kept them, else measured "
        "for this run in less time.",
        "Overlap: one process prepares batches in NumPy while another computes, on the cores that "
        "are left; both are made to take about as long.",
        "Inference: a network of three convolutions on 32 × 32 images, 0.26 million parameters.",
    ),
    timeout_s=600.0,
    extra="torch",
)
