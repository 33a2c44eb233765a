"""tabular: document 004's claim. Is deep learning worse than forests and boosting on tables?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

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
LIGHT_SIZE: Final = "-100k"
LIGHT_BOOSTING: Final = ("xgboost", "lightgbm", "sklearn", "catboost")  # the first that is here
SEEDS: Final = 5
LIGHT_SEEDS: Final = 3


def suite() -> Suite:
    """Return each kind of model in each library installed here, on all tables.

    With --light: the flights alone, in both forms, with 100,000 to train on, by one library of
    each kind.
    """
    methods = installed_methods()
    whole = [request for size in ("", "-100k", "-10k") for request in _flights(size, methods)]
    for table in ("breast-cancer", "digits-tabular"):
        whole += [Request(task=f"{table}-{kind}", framework=name) for kind, name in methods]
    light = [
        msgspec.structs.replace(request, seeds_max=LIGHT_SEEDS)
        for request in _flights(LIGHT_SIZE, _one_of_each(methods))
    ]
    return Suite(
        name="tabular",
        question="Does deep learning do worse than forests and boosting on tables?",
        requests=tuple(whole),
        seeds=SEEDS,
        light_requests=tuple(light),
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


def _one_of_each(methods: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    here = [name for kind, name in methods if kind == "boosting"]
    chosen = next((name for name in LIGHT_BOOSTING if name in here), None)
    return [(kind, name) for kind, name in methods if kind != "boosting" or name == chosen]


def _flights(size: str, methods: Sequence[tuple[str, str]]) -> list[Request]:
    return [
        Request(task=f"flights-delay-{kind}{size}", framework=name, dataset=form)
        for form in FORMS
        for kind, name in methods
    ]
