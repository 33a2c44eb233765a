"""Stands in for kubectl and a cluster: the pods of an applied Job are processes of this machine.

It does what Kubernetes documents of Indexed Jobs, as far as timetrial relies on it: environment
variables from the completion index, names in DNS (here: put in place of the address), phases, exit
codes, SIGTERM with grace on deletion. Its state is a folder, $KUBECTL_STAND_IN.
"""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
HOME = Path(os.environ["KUBECTL_STAND_IN"])


def expanded(text: str) -> str:
    """What Kubernetes makes of a text without references: $$ is a $."""
    assert "$(" not in text.replace("$$", ""), text
    return text.replace("$$", "$")


def apply() -> None:
    objects = list(yaml.safe_load_all(sys.stdin))
    (HOME / "applied.json").write_text(json.dumps(objects))
    services = [each["metadata"]["name"] for each in objects if each["kind"] == "Service"]
    [job] = [each for each in objects if each["kind"] in ("Job", "JobSet")]
    name, spec = job["metadata"]["name"], job["spec"]
    first = f"{name}-0"
    if job["kind"] == "JobSet":
        services = [spec["network"]["subdomain"]]
        first = f"{name}-workers-0-0"
        spec = spec["replicatedJobs"][0]["template"]["spec"]
    assert spec["completions"] == spec["parallelism"]
    container = spec["template"]["spec"]["containers"][0]
    if container["image"] == "no-such-image":
        write_pods([{"waiting": "ImagePullBackOff"}])
        return
    pods = []
    for index in range(spec["completions"]):
        told = {}
        for variable in container["env"]:
            if "value" in variable:
                told[variable["name"]] = expanded(variable["value"])
            else:
                assert variable["valueFrom"]["fieldRef"]["fieldPath"] == INDEX
                told[variable["name"]] = str(index)
        assert told["MASTER_ADDR"] == f"{first}.{services[0]}"
        told["MASTER_ADDR"] = "127.0.0.1"
        told["MASTER_PORT"] = os.environ["KUBECTL_STAND_IN_PORT"]
        words = [expanded(word) for word in container["command"]]
        assert words[0] == "python3"
        log = (HOME / f"log.{index}").open("ab")
        keeper = [sys.executable, __file__, "keep", str(HOME / f"code.{index}")]
        process = subprocess.Popen(
            [*keeper, sys.executable, *words[1:]],
            env={**os.environ, **told},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        pods.append({"pid": process.pid, "index": index})
    write_pods(pods)


def write_pods(pods: list[dict[str, Any]]) -> None:
    (HOME / "pods.json").write_text(json.dumps(pods))


def read_pods() -> list[dict[str, Any]]:
    file = HOME / "pods.json"
    return json.loads(file.read_text()) if file.exists() else []


def keep(file: Path, command: list[str]) -> None:
    """Run a container's command, pass SIGTERM on, keep its exit code."""
    process = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    code = process.wait()
    file.write_text(str(code if code >= 0 else 128 - code))


def status(pod: dict[str, Any]) -> dict[str, Any]:
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    if "waiting" in pod:
        waiting = {"reason": pod["waiting"], "message": "Back-off pulling image"}
        return {"phase": "Pending", "containerStatuses": [{"state": {"waiting": waiting}}]}
    if (HOME / "gone").exists():
        return {"phase": "Pending"}
    code = HOME / f"code.{pod['index']}"
    if not code.exists():
        return {"phase": "Running", "startTime": started, "containerStatuses": [{"state": {}}]}
    ended = {"exitCode": int(code.read_text()), "reason": "Error"}
    phase = "Succeeded" if ended["exitCode"] == 0 else "Failed"
    return {
        "phase": phase,
        "startTime": started,
        "containerStatuses": [{"state": {"terminated": ended}}],
    }


def delete(words: list[str]) -> None:
    if "--cascade=orphan" in words:  # the job alone
        return
    for pod in read_pods():
        if "pid" in pod and not (HOME / f"code.{pod['index']}").exists():
            if "--force" in words:
                kill_tree(pod["pid"])
            else:
                os.kill(pod["pid"], signal.SIGTERM)
    deadline = time.monotonic() + 30
    wait = "--wait=true" in words or "--force" in words
    while wait and time.monotonic() < deadline:
        if all((HOME / f"code.{p['index']}").exists() for p in read_pods() if "pid" in p):
            break
        time.sleep(0.05)
    if wait:
        write_pods([])


def kill_tree(pid: int) -> None:
    import psutil

    keeper = psutil.Process(pid)
    for process in keeper.children(recursive=True):
        process.kill()


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith(("--context", "--namespace"))]
    with (HOME / "calls").open("a") as calls:
        calls.write(json.dumps(sys.argv[1:]) + "\n")
    match words:
        case ["keep", file, *command]:
            keep(Path(file), command)
        case ["apply", "--filename=-"]:
            apply()
        case ["get", "pods", selector, "--output=json"]:
            assert selector.startswith("--selector=app.kubernetes.io/instance=timetrial-")
            print(json.dumps({"items": [{"status": status(pod)} for pod in read_pods()]}))
        case ["logs", *_]:
            for file in sorted(HOME.glob("log.*")):
                print("\n".join(file.read_text().splitlines()[-5:]))
        case ["delete", *rest]:
            delete(rest)
        case _:
            sys.exit(f"error: unknown command {words}")


if __name__ == "__main__":
    main()
