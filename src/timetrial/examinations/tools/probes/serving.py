"""A tool's server on loopback: started, waited for, asked, ended by its process id."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from timetrial.examinations.tools.probes.telling import Telling

HOST: Final = "127.0.0.1"
_START_S: Final = 120.0
_END_S: Final = 15.0
_ANSWER_S: Final = 30.0
_SCRIPT: Final = re.compile(r"""<script[^>]*\ssrc=["']?([^"'\s>]+)""")
_NO_PROXY: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Answer(NamedTuple):
    """What an address answered."""

    status: int
    content_type: str
    body: bytes

    def json(self) -> Any:
        """Return the body read as JSON."""
        return json.loads(self.body)


def free_port() -> int:
    """Return a port that is free now on loopback."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def ask(url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Return what the address answers, an error of the server's too.

    Raises:
        OSError: Nobody answers.
    """
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}))
    try:
        with _NO_PROXY.open(request, timeout=_ANSWER_S) as answer:
            return Answer(answer.status, answer.headers.get("Content-Type", ""), answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers.get("Content-Type", ""), error.read())


class Server:
    """A server process; `url` has no slash at its end."""

    def __init__(self, command: Sequence[str], port: int, log: Path) -> None:
        """Start it and wait until its address answers.

        Raises:
            RuntimeError: It ended, or did not answer in time; with the last line that it said.
        """
        self.url = f"http://{HOST}:{port}"
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def _wait(self) -> None:
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise RuntimeError(
                    f"The server ended with exit code {self._process.returncode}: {self._said()}"
                )
            try:
                ask(self.url)
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"The server did not answer in {_START_S:.0f} s: {self._said()}")

    def _said(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process: ask, then kill."""
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def show_page(
        self, telling: Telling, column: str, *, served_by: str, path: str = "/", about: str = ""
    ) -> None:
        """Tell what the address of the tool's page answers, and whether its scripts are there."""
        answer = ask(f"{self.url}{path}")
        page = answer.body.decode("utf-8", errors="replace")
        named = [urllib.parse.urljoin(f"{self.url}{path}", src) for src in _SCRIPT.findall(page)]
        own = [address for address in named if address.startswith(f"{self.url}/")]
        telling.tell(
            "page",
            column=column,
            path=path,
            status=answer.status,
            content_type=answer.content_type,
            bytes=len(answer.body),
            scripts=len(own),
            missing=sum(ask(address).status != 200 for address in own),
            served_by=served_by,
            about=about,
        )
