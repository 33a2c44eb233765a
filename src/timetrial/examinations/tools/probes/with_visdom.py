"""Visdom: its server on loopback, asked by its client."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timetrial.examinations.tools.probes import checking, looking, serving, training, watching
from timetrial.examinations.tools.probes.telling import NotThereYet, Order, Reader, Telling, main

_ENVIRONMENT = "watched"
_WITHOUT_SCRIPTS = "from visdom.server.run_server import main; main()"


def _server(order: Order, telling: Telling, column: str) -> serving.Server:
    """Start it as its documentation says; where that fails, without the download it begins with."""
    port = serving.free_port()
    (order.folder / "environments").mkdir()
    options = [
        *("-port", str(port), "-bind_local"),
        *("-env_path", str(order.folder / "environments")),
    ]
    log = order.folder / "server.log"
    try:
        return serving.Server([sys.executable, "-m", "visdom.server", *options], port, log)
    except RuntimeError as error:
        line = checking.last_line(error)
        telling.tell(
            "attempted", column=column, what="python -m visdom.server", worked=False, line=line
        )
    return serving.Server([sys.executable, "-c", _WITHOUT_SCRIPTS, *options], port, log)


def _client(url: str) -> Any:
    from visdom import Visdom

    server, _, port = url.rpartition(":")
    return Visdom(server=server, port=int(port), use_incoming_socket=False, raise_exceptions=True)


def monitoring(order: Order, telling: Telling) -> None:
    """Draw a line that grows; another process asks the server for the window's data."""
    with _server(order, telling, "monitoring") as server:
        client = _client(server.url)

        watching.watched(
            order,
            telling,
            {"url": server.url},
            lambda step: _draw(client, _ENVIRONMENT, step),
            means="server",
            how="Visdom.line(update='append'); Visdom.get_window_data",
        )
        _show_page(server, telling, "monitoring")


def watch(place: dict[str, str]) -> Reader:
    """Return what reads the line's points from the server."""
    client = _client(place["url"])

    def read() -> Mapping[int, float]:
        return _points(client, _ENVIRONMENT)

    return read


def _draw(client: Any, environment: str, step: training.Step) -> None:
    import numpy as np

    client.line(
        X=np.array([step.step]),
        Y=np.array([step.loss]),
        win="loss",
        env=environment,
        update=None if step.step == 1 else "append",
    )


def _points(client: Any, environment: str) -> dict[int, float]:
    told = client.get_window_data(win="loss", env=environment)
    try:
        window = json.loads(told)
    except json.JSONDecodeError as error:  # before there is one, the server says so in words
        raise NotThereYet from error
    data = window.get("content", {}).get("data") if isinstance(window, dict) else None
    if not data:
        raise NotThereYet
    return {int(x): float(y) for x, y in zip(data[0]["x"], data[0]["y"], strict=True)}


def _show_page(server: serving.Server, telling: Telling, column: str) -> None:
    from visdom import __file__ as place

    scripts = list((Path(place).parent / "static").rglob("plotly*.js"))
    about = "" if scripts else "without the scripts that it fetches from the web when it is started"
    server.show_page(telling, column, served_by="visdom", about=about)


def organizing(order: Order, telling: Telling) -> None:
    """Draw the sweep, each run in an environment of its own; ask for it."""
    runs = training.sweep(order.folder)
    with _server(order, telling, "organizing") as server:
        client = _client(server.url)
        _as_environments(client, telling, runs)
        _show_page(server, telling, "organizing")
    looking.absent(telling, "visdom", "filter", "sort", "artefact")


def _as_environments(client: Any, telling: Telling, runs: list[training.Trained]) -> None:
    """Draw each run in an environment of its own, with its parameters as a text."""
    for run in runs:
        client.text(json.dumps(run.params._asdict()), win="params", env=run.name)
        for step in run.curve:
            _draw(client, run.name, step)
    with checking.checked(telling, "list", "Visdom.get_env_list") as check:
        found = {name for name in client.get_env_list() if name.startswith("run-")}
        check.expect(sorted(found), sorted(run.name for run in runs))
    with checking.checked(telling, "compare", "Visdom.get_window_data of two") as check:
        pair = [runs[0], runs[-1]]
        check.expect(
            [list(_points(client, run.name).values()) for run in pair],
            [[step.loss for step in run.curve] for run in pair],
        )


def tuning(order: Order, telling: Telling) -> None:
    """Look for anything that proposes points."""
    looking.absent(telling, "visdom", "tuning")


if __name__ == "__main__":
    main({"monitoring": monitoring, "organizing": organizing, "tuning": tuning}, watch)
