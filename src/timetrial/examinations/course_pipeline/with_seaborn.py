"""The course's three pictures, as its slides make them: columns, colours, sizes, angles."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, cast

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot
from matplotlib.figure import Figure

_KINDS: Final = ("mean", "se", "worst")  # of each measurement: mean, standard error, largest
_MEASUREMENTS: Final = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal_dimension",
)
COLUMNS: Final = tuple(f"{name}_{kind}" for kind in _KINDS for name in _MEASUREMENTS)
"""The 30 features in the file's order, by the names that Kaggle's copy gives them."""
PAIRED: Final = ("diagnosis", "texture_mean", "perimeter_mean", "concavity_mean")
"""Columns 1, 3, 4 and 8 of Kaggle's copy, whose column 0 is an id."""
_DPI: Final = 100


def frame_of(inputs: np.ndarray, malignant: np.ndarray) -> pd.DataFrame:
    """Return the table as Kaggle's copy has it, without its id and its empty column.

    `inputs` has shape (rows, 30); the diagnosis is M or B.
    """
    frame = pd.DataFrame(inputs, columns=list(COLUMNS))
    frame.insert(0, "diagnosis", np.where(malignant.astype(bool), "M", "B"))
    return frame


def draw_to_files() -> None:
    """Have pictures drawn in memory, also where there is a screen."""
    pyplot.switch_backend("Agg")


def pie(frame: pd.DataFrame) -> Figure:
    """Return the share of each diagnosis; the second slice, benign, stands out by 0.1."""
    counts = frame["diagnosis"].value_counts()
    figure, axes = pyplot.subplots()
    axes.pie(
        [counts["M"], counts["B"]],
        explode=(0, 0.1),
        labels=["Malignant", "Benign"],
        autopct="%1.1f%%",
        startangle=90,
    )
    axes.axis("equal")
    return figure


def relplot(frame: pd.DataFrame) -> Figure:
    """Return texture against smoothness: colour is the diagnosis, size the radius."""
    with pyplot.rc_context():
        sns.set_theme(style="white")
        grid = sns.relplot(
            x="texture_mean",
            y="smoothness_mean",
            hue="diagnosis",
            size="radius_mean",
            sizes=(40, 400),
            alpha=0.5,
            palette="muted",
            height=6,
            data=frame,
        )
    return cast(Figure, grid.figure)


def pairplot(frame: pd.DataFrame) -> Figure:
    """Return each of three columns against the others, and its distribution, by diagnosis."""
    with pyplot.rc_context():
        sns.set_theme(style="white")
        grid = sns.pairplot(frame[list(PAIRED)], hue="diagnosis")
    return cast(Figure, grid.figure)


class Picture(NamedTuple):
    """One of the course's pictures."""

    draw: Callable[[pd.DataFrame], Figure]  # from the table, sorted as the course sorts it
    title: str
    about: str


PICTURES: Final[Mapping[str, Picture]] = {
    "pie": Picture(
        pie,
        "Diagnoses of the 569 tumours",
        "A pie of two slices: malignant 37.3 %, benign 62.7 %, the second pulled out.",
    ),
    "relplot": Picture(
        relplot,
        "Texture and smoothness by diagnosis, size by radius",
        "Points of mean texture against mean smoothness. The malignant ones are mostly larger and "
        "have more texture; both kinds overlap.",
    ),
    "pairplot": Picture(
        pairplot,
        "Texture, perimeter and concavity, pair by pair",
        "A grid of three by three: points of each pair of columns, distributions on the diagonal. "
        "Perimeter and concavity part the diagnoses better than texture does.",
    ),
}


def png_of(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file, and close it."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI, bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)
    return file.getvalue()
