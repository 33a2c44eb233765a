"""An algorithm as facts and as a page; the table of all. PyTorch is not imported for it."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

from timetrial.algorithms import REGISTRY, Choice, describe, parse_algorithm, value_text


def facts(name: str) -> dict[str, object]:
    """Return what is known of an algorithm, as `list algorithms --json` prints it.

    Raises:
        UnknownNameError: No such algorithm.
    """
    description = describe(name)
    return {
        "algorithm": parse_algorithm(name).text,
        "what": description.title,
        "division": description.division,
        "frameworks": list(description.frameworks),
        "source": description.source,
        "bytes_per_step": description.sends,
        "repeats": description.repeats,
        "settings": [
            {
                "name": setting.name,
                "default": setting.default,
                "allowed": setting.allowed,
                "meaning": setting.meaning,
            }
            for setting in description.settings
        ],
    }


def render_algorithm(name: str, *, level: int = 1) -> str:
    """Return an algorithm's page in Markdown, its title a heading of `level`.

    Raises:
        UnknownNameError: No such algorithm.
    """
    description = describe(name)
    lines = [f"{'#' * level} {name}", "", f"{_sentence(description.title)}", ""]
    lines += [f"- Source: {description.source}", f"- Sends per step: `{description.sends}`"]
    lines.append(f"- Division: {description.division}; in {', '.join(description.frameworks)}")
    if not description.repeats:
        lines.append("- Two runs with one seed differ")
    lines.append("")
    if description.settings:
        lines += ["| setting | default | allowed | meaning |", "|---|---|---|---|"]
        lines += [
            f"| {s.name} | {value_text(s.default)} | {s.allowed} | {s.meaning} |"
            for s in description.settings
        ]
        lines.append("")
    told = _docstring(description.build)
    return "\n".join([*lines, told, ""] if told else lines)


def render_algorithms() -> str:
    """Return the table of all algorithms in Markdown, then the page of each."""
    names = REGISTRY.names()
    lines = ["| algorithm | source | bytes per step | division |", "|---|---|---|---|"]
    for name in names:
        found = describe(name)
        text = Choice(name, {s.name: s.default for s in found.settings}).text
        lines.append(f"| [{text}](#{name}) | {found.source} | `{found.sends}` | {found.division} |")
    return "\n".join([*lines, "", *(render_algorithm(name, level=2) for name in names)])


def _sentence(title: str) -> str:
    return f"{title[0].upper()}{title[1:]}."


def _docstring(build: str | None) -> str:
    """Return what the file of a build says of itself, without its first line; read, not run."""
    if build is None:
        return ""
    found = importlib.util.find_spec(build.partition(":")[0])
    if found is None or found.origin is None:
        return ""
    text = ast.get_docstring(ast.parse(Path(found.origin).read_text(encoding="utf-8"))) or ""
    _title, *paragraphs = text.split("\n\n")
    return "\n\n".join(part for part in paragraphs if not part.startswith("Source:"))
