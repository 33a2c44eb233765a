"""Weights & Biases offline: its server is a container of its own, with a licence key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from timetrial.examinations.tools.probes import checking, racing, training, watching
from timetrial.examinations.tools.probes.telling import NotThereYet, Order, Reader, Telling, main

_BLOCK, _HEAD, _OWN_HEAD = 32768, 7, 7  # bytes
_FULL, _FIRST, _LAST = 1, 2, 4  # kinds of a part of a record


def _run(order: Order, name: str, params: Mapping[str, Any] | None = None) -> Any:
    import wandb

    return wandb.init(
        project="sweep", name=name, mode="offline", dir=str(order.folder), config=dict(params or {})
    )


def monitoring(order: Order, telling: Telling) -> None:
    """Log metrics; another process parses the run's file of records."""
    run = _run(order, "watched")
    watching.watched(
        order,
        telling,
        {"folder": str(order.folder)},
        lambda step: run.log({"loss": step.loss}, step=step.step),
        means="raw file",
        how="Run.log; the blocks of run-*.wandb, which no Python function of wandb reads; its own "
        "program `wandb leet` shows them in a terminal",
    )
    run.finish()


def watch(place: dict[str, str]) -> Reader:
    """Return what parses the file of records from its begin."""
    from wandb.proto import wandb_internal_pb2

    def read() -> Mapping[int, float]:
        files = list(Path(place["folder"]).glob("wandb/offline-run-*/run-*.wandb"))
        if not files:
            raise NotThereYet
        values: dict[int, float] = {}
        for data in _records(files[0].read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.HasField("history"):
                items = {
                    item.key or ".".join(item.nested_key): item.value_json
                    for item in record.history.item
                }
                if "loss" in items:
                    values[record.history.step.num] = float(items["loss"])
        if not values:
            raise NotThereYet
        return values

    return read


def _records(content: bytes) -> Iterator[bytes]:
    """Yield the whole records of a log in blocks.

    Source: LevelDB, doc/log_format.md, read 2026-11-23; seven bytes of wandb's own stand before.
    """
    place, parts = _OWN_HEAD, b""
    while True:
        left = _BLOCK - place % _BLOCK
        if left < _HEAD:
            place += left
            continue
        head = content[place : place + _HEAD]
        if len(head) < _HEAD:
            return
        length, kind = int.from_bytes(head[4:6], "little"), head[6]
        data = content[place + _HEAD : place + _HEAD + length]
        if kind == 0 or len(data) < length:  # not written yet
            return
        place += _HEAD + length
        parts = data if kind in (_FULL, _FIRST) else parts + data
        if kind in (_FULL, _LAST):
            yield parts


def organizing(order: Order, telling: Telling) -> None:
    """Log the sweep offline; ask for it through the API, which needs a server."""
    import wandb

    runs = training.sweep(order.folder)
    for run in runs:
        logged = _run(order, run.name, run.params._asdict())
        for step in run.curve:
            logged.log({"loss": step.loss}, step=step.step)
        artefact = wandb.Artifact(run.name, type="model")
        artefact.add_file(str(run.artefact))
        logged.log_artifact(artefact)
        logged.finish()
    names = sorted(run.name for run in runs)

    def found(**query: Any) -> list[str]:
        return [entry.name for entry in wandb.Api().runs("sweep/sweep", **query)]

    with checking.checked(telling, "list", "wandb.Api().runs") as check:
        check.expect(sorted(found()), names)
    with checking.checked(telling, "filter", "Api().runs(filters)") as check:
        check.expect(set(found(filters={"config.penalty": "l1"})), training.with_l1(runs))
    with checking.checked(telling, "sort", "Api().runs(order)") as check:
        check.expect(found(order="+summary_metrics.loss"), training.by_loss(runs))
    with checking.checked(telling, "artefact", "Api().artifact") as check:
        got = Path(wandb.Api().artifact(f"sweep/sweep/{runs[0].name}:latest").download())
        check.expect((got / runs[0].artefact.name).read_bytes(), runs[0].artefact.read_bytes())
    with checking.checked(telling, "compare", "Run.scan_history of two") as check:
        entries = wandb.Api().runs("sweep/sweep")[:2]
        check.expect([len(list(entry.scan_history())) for entry in entries], [training.EPOCHS] * 2)


def tuning(order: Order, telling: Telling) -> None:
    """Start a sweep, whose controller is on the server."""
    import wandb

    line, worked = "", False
    try:
        with checking.limited():
            sweep = wandb.sweep(
                {
                    "method": "bayes",
                    "metric": {"name": "loss", "goal": "minimize"},
                    "parameters": {
                        name: {"min": low, "max": high}
                        for name, (low, high) in racing.BOUNDS.items()
                    },
                },
                project="sweep",
            )
            worked, line = True, f"it returned {sweep!r}"
    except Exception as error:  # noqa: BLE001 what it raises is what is looked for
        line = checking.last_line(error)
    telling.tell("attempted", column="tuning", what="wandb.sweep", worked=worked, line=line)


if __name__ == "__main__":
    main({"monitoring": monitoring, "organizing": organizing, "tuning": tuning}, watch)
