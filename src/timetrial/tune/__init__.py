"""Hyper-parameter search in the open division; everything it runs is a run directory of the store.

space      which rules may take which values, from a TOML file with its source
objective  what is to be small or large, and the score of a run that missed its target
settings   what a search was begun with, and goes on with
asked      what a user asks for, made into these settings
journal    Optuna's journal in the store, safe against a kill at any byte
study      Optuna: samplers, pruners, parameters to try next (the only module that imports it)
watching   follows the runs while they go on
session    search, repeat the leaders, compare the winner with the reference on fresh seeds
found      what a search left: trials, leaders, winner, verdict
tables     that as rows, tables and a picture

    from timetrial.tune.asked import Amounts
    from timetrial.tune.session import search

    found = search("mnist-cnn", objective="time-to-target", amounts=Amounts(trials=20))
    found.verdict()
"""

from __future__ import annotations

from typing import Final

TRIALS: Final = 20
LEADERS: Final = 3
REPEAT: Final = 3
FRESH: Final = 25  # ten a side tell a ratio of 0.7 from 1, and not 0.8: docs/decisions.md
