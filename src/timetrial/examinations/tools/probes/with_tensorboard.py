"""TensorBoard: event files by its own writer, read through its server."""

from __future__ import annotations

import json
import sys
import time
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timetrial.examinations.tools.probes import checking, looking, serving, training, watching
from timetrial.examinations.tools.probes.telling import NotThereYet, Order, Reader, Telling, main

_RELOAD_S = 60.0  # by then the server has read what was written
_ANY_STATUS = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]


class _Writer:
    """One run's event file."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._file = EventFileWriter(str(folder))

    def summary(self, summary: Any, step: int = 0) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._file.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def scalar(self, step: training.Step) -> None:
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        self.summary(scalar_pb("loss", step.loss), step.step)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _server(order: Order) -> serving.Server:
    port = serving.free_port()
    command = [
        sys.executable,
        "-m",
        "tensorboard.main",
        f"--logdir={order.folder / 'logs'}",
        f"--host={serving.HOST}",
        f"--port={port}",
    ]
    return serving.Server(command, port, order.folder / "server.log")


def _scalars(url: str, run: str) -> dict[int, float]:
    words = urllib.parse.urlencode({"tag": "loss", "run": run})
    answer = serving.ask(f"{url}/data/plugin/scalars/scalars?{words}")
    if answer.status != 200:
        raise NotThereYet
    return {int(step): float(value) for _, step, value in answer.json()}


def monitoring(order: Order, telling: Telling) -> None:
    """Write events, flushed at each step; another process asks the server for the scalars."""
    with _server(order) as server:
        writer = _Writer(order.folder / "logs" / "watched")

        def log(step: training.Step) -> None:
            writer.scalar(step)
            writer.flush()

        watching.watched(
            order,
            telling,
            {"url": server.url},
            log,
            means="server",
            how="EventFileWriter, flushed at each step; /data/plugin/scalars of the server, whose "
            "defaults are kept",
        )
        writer.close()
        server.show_page(telling, "monitoring", served_by="tensorboard")


def watch(place: dict[str, str]) -> Reader:
    """Return what reads the loss by step from the server."""

    def read() -> Mapping[int, float]:
        return _scalars(place["url"], "watched")

    return read


def organizing(order: Order, telling: Telling) -> None:
    """Write the sweep with its hyper-parameters; ask the server's HParams plugin for it."""
    from tensorboard.plugins.hparams import summary_v2 as hparams

    runs = training.sweep(order.folder)
    for run in runs:
        writer = _Writer(order.folder / "logs" / run.name)
        writer.summary(hparams.hparams_pb(run.params._asdict(), trial_id=run.name))
        for step in run.curve:
            writer.scalar(step)
        writer.close()
    with _server(order) as server:
        groups = _wait_for_groups(server, len(runs))
        with checking.checked(telling, "list", "HParams, session_groups") as check:
            check.expect(sorted(_names(groups)), sorted(run.name for run in runs))
        with checking.checked(telling, "filter", "HParams, filterDiscrete") as check:
            column = {"hparam": "penalty", "filterDiscrete": ["l1"]}
            check.expect(set(_names(_groups(server, column))), training.with_l1(runs))
        with checking.checked(telling, "sort", "HParams, order by a metric") as check:
            by_loss = {"metric": {"group": "", "tag": "loss"}, "order": "ORDER_ASC"}
            check.expect(_names(_groups(server, by_loss)), training.by_loss(runs))
        with checking.checked(telling, "compare", "the scalars of two runs") as check:
            pair = [runs[0], runs[-1]]
            check.expect(
                [
                    all(
                        checking.close_to(value, step.loss)
                        for value, step in zip(
                            _scalars(server.url, run.name).values(), run.curve, strict=True
                        )
                    )
                    for run in pair
                ],
                [True, True],
            )
        server.show_page(
            telling, "organizing", served_by="tensorboard", about="HParams is a tab of it"
        )
    looking.absent(telling, "tensorboard", "artefact")


def _groups(server: serving.Server, *columns: Mapping[str, Any]) -> list[Any]:
    """Return the sessions that the plugin finds."""
    names = {str(next(iter(column))) for column in columns}
    shown = [
        column
        for column in ({"hparam": "C"}, {"hparam": "penalty"}, {"metric": {"tag": "loss"}})
        if next(iter(column)) not in names
    ]
    request = {
        "experimentName": "",
        "allowedStatuses": _ANY_STATUS,
        "colParams": [*columns, *shown],
        "aggregationType": "AGGREGATION_AVG",
        "startIndex": 0,
        "sliceSize": 100,
    }
    answer = serving.ask(
        f"{server.url}/data/plugin/hparams/session_groups",
        body=json.dumps(request).encode(),
        headers={"Content-Type": "application/json", "X-XSRF-Protected": "1"},
    )
    if answer.status != 200:
        raise RuntimeError(f"HTTP {answer.status}: {answer.body[:200].decode(errors='replace')}")
    found: list[Any] = answer.json().get("sessionGroups", [])
    return found


def _wait_for_groups(server: serving.Server, wanted: int) -> list[Any]:
    until = time.monotonic() + _RELOAD_S
    groups: list[Any] = []
    while time.monotonic() < until:
        answer = _groups(server)
        groups = [g for g in answer if any("metricValues" in s for s in g.get("sessions", []))]
        if len(groups) == wanted:
            break
        time.sleep(0.5)
    return groups


def _names(groups: list[Any]) -> list[str]:
    return [group["sessions"][0]["name"] for group in groups]


def tuning(order: Order, telling: Telling) -> None:
    """Look for anything that proposes points."""
    looking.absent(telling, "tensorboard", "tuning")


if __name__ == "__main__":
    main({"monitoring": monitoring, "organizing": organizing, "tuning": tuning}, watch)
