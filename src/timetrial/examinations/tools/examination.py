"""The examination `experiment-tool`: the same five steps for every tool."""

from __future__ import annotations

from typing import Final

from timetrial.spec import YES_NO, Examination, ExaminationStep, Sought, Source

# name of the tool in tools.toml -> its examiner
TOOLS: Final = (
    "comet",
    "clearml",
    "mlflow",
    "tensorboard",
    "visdom",
    "scikit-optimize",
    "ax",
    "orion",
    "optuna",
    "wandb",
)

EXPERIMENT_TOOL: Final = Examination(
    name="experiment-tool",
    version=1,
    title="What a tool for experiments can do: monitoring, organizing, tuning, licence",
    steps=(
        ExaminationStep(
            name="environment",
            about="the tool's own virtual environment, made or found",
            seeks=(
                Sought(measure="installed", unit=YES_NO, about="can it be installed"),
                Sought(measure="environment_size", unit="byte", about="files of its environment"),
                Sought(measure="environment_packages", unit="count", about="packages in it"),
            ),
        ),
        ExaminationStep(
            name="monitoring",
            about="another process reads a run's loss by step while the run goes on",
            seeks=(
                Sought(
                    measure="steps_read_live", unit="fraction", about="steps read before the end"
                ),
                Sought(
                    measure="monitoring_latency", unit="s", about="from logging to reading, median"
                ),
            ),
        ),
        ExaminationStep(
            name="organizing",
            about="after a sweep of eight runs: list, filter, sort, fetch, compare",
            seeks=(
                Sought(measure="runs_listed", unit=YES_NO, about="all runs are listed"),
                Sought(measure="runs_filtered", unit=YES_NO, about="filter by a parameter"),
                Sought(measure="runs_sorted", unit=YES_NO, about="sort by a metric"),
                Sought(measure="artefact_fetched", unit=YES_NO, about="an artefact comes back"),
                Sought(measure="runs_compared", unit=YES_NO, about="two runs side by side"),
                Sought(measure="page_answered", unit=YES_NO, about="a page of it on loopback"),
            ),
        ),
        ExaminationStep(
            name="tuning",
            about="searches by the tool beside random searches of the same budget",
            seeks=(
                Sought(
                    measure="search_ratio",
                    unit="1",
                    about="best point above the least value, tool / random",
                ),
                Sought(measure="time_per_proposal", unit="s", about="to propose and to be told"),
            ),
        ),
        ExaminationStep(
            name="licence",
            about="what the installed distribution says of its licence",
            seeks=(
                Sought(measure="open_licence", unit=YES_NO, about="on the OSI's list of licences"),
            ),
        ),
    ),
    implementations={
        tool: f"timetrial.examinations.tools.examiners:{tool.replace('-', '_')}" for tool in TOOLS
    },
    sources=(
        Source(
            text="Mila, course on ML tools, slides (2019): table of experiment management tools",
        ),
    ),
    notes=(
        "the sweep is logistic regression on breast cancer over C and penalty, in every tool",
        "a tool's environment is kept in the cache folder: its size is on disk, its download less",
    ),
    timeout_s=7200.0,
)
