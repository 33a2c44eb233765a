"""What an installed distribution says and holds: its licence, and names that it does not have.

That a tool cannot do something shows in no call. So all public names of functions, methods and
classes in its Python files are compared with a pattern of the names that such a thing goes by; what
fits is told, and somebody has to look at it (tools.toml, `not_it`) before the answer counts.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import warnings
from collections.abc import Iterator
from pathlib import PurePath
from typing import Final

from timetrial.examinations.tools.probes.telling import Order, Telling, main

PATTERNS: Final = {
    "monitoring": r"(log|add|report|track|write)_?(metrics?|scalars?|values?|history)"
    r"|report_intermediate\w*",
    "organizing": r"(search|list|query|filter|compare|get_all)_?(runs?|trials?|experiments?)",
    "tuning": r"ask|(suggest|propose)(_\w+)?|(get_)?next_(trials?|points?|parameters|runs?)"
    r"|\w*hyper_?param\w*(optimi[sz]|search|tun)\w*|\w*bayes\w*(optimi[sz]|search)\w*",
    "filter": r"(search|query|filter|find)_?(envs?|environments?|runs?|trials?|experiments?)",
    "sort": r"(sort|order|rank)_?(by_?)?(envs?|environments?|runs?|trials?|experiments?|metrics?)",
    "artefact": r"(log|add|upload|put|store)_?(artifacts?|assets?|files?|models?)",
}
_NEAR_MOST: Final = 60


def absent(telling: Telling, distribution: str, *whats: str) -> None:
    """Tell which public names of a distribution fit the pattern of each capability."""
    names = list(_public_names(distribution))
    files = len({place for place, _ in names})
    for what in whats:
        pattern = re.compile(PATTERNS[what], re.IGNORECASE)
        near = [
            f"{place}:{name}" for place, name in names if pattern.fullmatch(name.split(".")[-1])
        ]
        telling.tell(
            "absent",
            what=what,
            words=pattern.pattern,
            names=len(names),
            files=files,
            near=sorted(set(near))[:_NEAR_MOST],
        )


def _public_names(distribution: str) -> Iterator[tuple[str, str]]:
    """Yield module and name of each public function, class and method."""
    for file in importlib.metadata.files(distribution) or []:
        if file.suffix != ".py" or _is_test(file):
            continue
        module = ".".join(file.with_suffix("").parts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if node.name.startswith("_"):
                    continue
                yield module, node.name
                if isinstance(node, ast.ClassDef):
                    for inner in node.body:
                        if isinstance(
                            inner, ast.FunctionDef | ast.AsyncFunctionDef
                        ) and not inner.name.startswith("_"):
                            yield module, f"{node.name}.{inner.name}"


def _is_test(file: PurePath) -> bool:
    return any(part in ("tests", "test", "testing") for part in file.parts) or file.name.startswith(
        "test_"
    )


def licence(order: Order, telling: Telling) -> None:
    """Tell what the distribution named by the file `distribution` in the folder says."""
    name = (order.folder / "distribution").read_text()
    found = importlib.metadata.metadata(name)
    field = _first(found, "License").strip()
    telling.tell(
        "licensed",
        distribution=found["Name"],
        version=found["Version"],
        expression=_first(found, "License-Expression"),
        field=field.splitlines()[0][:200] if field else "",
        classifiers=[
            line for line in found.get_all("Classifier") or [] if line.startswith("License ::")
        ],
    )


def _first(found: importlib.metadata.PackageMetadata, name: str) -> str:
    return next(iter(found.get_all(name) or []), "")


if __name__ == "__main__":
    main({"licence": licence}, None)
