"""Write the data that the examples of own tasks learn, from the copies in scikit-learn.

python examples/make_own_data.py     needs: pip install 'timetrial[sklearn,images]'

own-data/handwritten/train/0/0000.png …   1797 grey images of 8 × 8 pixels, a folder a digit
own-data/tumours.csv                      569 rows: 30 measurements and the diagnosis
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_digits

FOLDER = Path(__file__).parent / "own-data"


def write_images(folder: Path) -> None:
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        place = folder / "train" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15).astype(np.uint8)).save(place / f"{number:04}.png")


def write_table(file: Path) -> None:
    tumours = load_breast_cancer()
    with file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow([*tumours.feature_names, "diagnosis"])
        for row, label in zip(tumours.data, tumours.target, strict=True):
            table.writerow([*map(float, row), tumours.target_names[label]])


if __name__ == "__main__":
    write_images(FOLDER / "handwritten")
    write_table(FOLDER / "tumours.csv")
