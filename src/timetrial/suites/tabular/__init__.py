"""tabular: document 004's claim. Is deep learning worse than forests and boosting on tables?"""

from __future__ import annotations

from typing import Final

from timetrial import frameworks
from timetrial.plan import Request
from timetrial.suites import Suite

KINDS: Final = ("linear", "forest", "boosting", "mlp", "net")
FRAMEWORKS: Final = {
    "linear": ("sklearn",),
    "forest": ("sklearn",),
    "boosting": ("xgboost", "lightgbm", "catboost", "sklearn"),
    "mlp": ("torch",),
    "net": ("torch",),
}
FORMS: Final = {"flights-actual": "actual", "flights-scheduled": "scheduled"}
LIGHT_SIZE: Final = "-10k"
SEEDS: Final = 5


def suite() -> Suite:
    """Return each kind of model in each library installed here, on all tables.

    With --light: the flights alone, in both forms, with 10,000 to train on.
    """
    whole = [*_flights(""), *_flights("-100k"), *_flights(LIGHT_SIZE)]
    for table in ("breast-cancer", "digits-tabular"):
        whole += [
            Request(task=f"{table}-{kind}", framework=name) for kind, name in installed_methods()
        ]
    return Suite(
        name="tabular",
        question="Does deep learning do worse than forests and boosting on tables?",
        requests=tuple(whole),
        seeds=SEEDS,
        light_requests=tuple(_flights(LIGHT_SIZE)),
        tables="timetrial.suites.tabular.tables:tables",
    )


def installed_methods() -> list[tuple[str, str]]:
    """Return kind and framework of each method that can run here."""
    return [
        (kind, name)
        for kind, names in FRAMEWORKS.items()
        for name in names
        if name in frameworks.REGISTRY.names() and frameworks.installed(name)
    ]


def _flights(size: str) -> list[Request]:
    return [
        Request(task=f"flights-delay-{kind}{size}", framework=name, dataset=form)
        for form in FORMS
        for kind, name in installed_methods()
    ]
