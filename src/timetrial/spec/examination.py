"""What an examination is: named steps, and what each of them is to find out. Nothing is learned."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from timetrial.spec.rules import Record, Source

YES_NO: Final = "yes_no"  # the unit of an answer: 1 is yes, 0 is no


class Sought(Record, frozen=True, kw_only=True):
    """One thing that a step finds out: it becomes a row of its own."""

    measure: str  # the row's, such as "train_accuracy"; once in an examination
    unit: str  # as in rows: "s", "byte", "fraction", "1", "1/s", …, or YES_NO
    about: str  # what it is, for people, in a line


class ExaminationStep(Record, frozen=True, kw_only=True):
    """One step of an examination. It is done as a whole, and not again once it is done."""

    name: str  # a word such as "predict"
    about: str  # what it does, for people, in a line
    seeks: tuple[Sought, ...]


class Examination(Record, frozen=True, kw_only=True, omit_defaults=True, tag="examination"):
    """Steps that are carried out one after the other in one worker, each with its findings.

    An examiner carries them out: a framework of ours, or a tool of any name, has one each, and the
    same is sought in all of them.
    """

    name: str
    version: int
    title: str
    steps: tuple[ExaminationStep, ...]
    implementations: Mapping[str, str]  # framework or tool -> "module:attribute" of a BuildExaminer
    sources: tuple[Source, ...]
    notes: tuple[str, ...]
    dataset: str | None = None  # whose files the plan names
    light_without: tuple[str, ...] = ()  # steps that --light leaves out
    timeout_s: float = 3600.0  # after which the launcher kills the worker, unless --set says other
    extra: str | None = None  # of timetrial, that brings all that the steps can use

    def chosen(self, *, light: bool) -> list[ExaminationStep]:
        """Return the steps in their order."""
        return [step for step in self.steps if not (light and step.name in self.light_without)]

    def rules(self) -> dict[str, object]:
        """Return what decides the result, without prose and without where the code lies."""
        fields: dict[str, object] = msgspec.to_builtins(self)
        for name in ("title", "implementations", "sources", "notes", "timeout_s", "extra"):
            fields.pop(name, None)
        fields["steps"] = [
            {"name": step.name, "seeks": [[one.measure, one.unit] for one in step.seeks]}
            for step in self.steps
        ]
        return fields

    def hash(self) -> str:
        """Return the SHA-256 of the rules as canonical JSON: equal rules, equal hash."""
        return hashlib.sha256(msgspec.json.encode(self.rules(), order="deterministic")).hexdigest()
