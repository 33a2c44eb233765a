"""The shape of the package: who may import whom, and what no module may do."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from command_line import ROOT

SOURCE = ROOT / "src" / "timetrial"

# The one place where the order is written down. A part imports only from parts of lines above its
# own, or to its left in its line. What design.md 2 names and is not here yet has its place already.
ORDER = (
    ("errors units _registry", "needed by all"),
    ("spec", "what a task is: read without any framework"),
    ("plan rundir", "a run resolved; the files of a run"),
    ("engine", "the timed loop knows no task; tasks use its seeds and checkpoint packing"),
    ("datasets frameworks algorithms tasks", "what the engine is given"),
    ("meter", "reads counters; runs beside the worker"),
    ("scripted", "the open division: a command in the worker's place, its claims judged"),
    ("exchange", "measuring tasks: what workers exchange, timed in the worker's place"),
    ("examine", "examinations: named steps and their findings, in the worker's place"),
    ("worker", "joins engine and task in a process of its own"),
    ("machine", "before launch: an agent describes its machine; before store: records hold it"),
    ("launch", "starts workers and meters"),
    ("store", "run directories read back"),
    ("stats", "records in, estimates out"),
    ("ceilings", "what this machine can do at most, measured in processes like a worker's"),
    ("examinations", "those that come with timetrial; the worker loads them by name"),
    ("rows references prices", "what every table is made of; published results become rows"),
    ("audit parity", "judges records"),
    ("findings", "records become rows"),
    ("forecast", "convergence x probe x prices: what a run would take elsewhere"),
    ("interop platforms", "other people's formats and places"),
    ("report", "rows become pages; computes nothing"),
    ("suites gridfile", "lists of requests"),
    ("owntask", "a user's own file becomes a task"),
    ("batch results api", "what cli, notebooks, tune and serve call"),
    ("outlook convergence taskpage firstrun tune serve", "built on the whole"),
    ("cli", "a module per verb"),
    ("__main__ testing", "python -m timetrial; fakes and contract tests for outsiders"),
)
RANKS = {part: rank for rank, part in enumerate(" ".join(line for line, _ in ORDER).split())}

MODULES = sorted(SOURCE.rglob("*.py"))
# programs of their own: what they print goes to people, or to the log of who started them
PRINTERS = ("cli/", "worker.py", "launch/agent.py", "meter/sampler.py", "testing/fakes.py")


class Import(NamedTuple):
    """One import of a part of ours."""

    importer: str
    imported: str
    place: str


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports() -> Iterator[Import]:
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            names: list[str] = []
            if isinstance(node, ast.ImportFrom) and node.level:
                names = ["relative"]
            elif isinstance(node, ast.ImportFrom) and node.module == "timetrial":
                names = [alias.name for alias in node.names if alias.name != "__version__"]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("timetrial."):
                names = [str(node.module).split(".")[1]]
            elif isinstance(node, ast.Import):
                names = [
                    alias.name.split(".")[1]
                    for alias in node.names
                    if alias.name.startswith("timetrial.")
                ]
            for name in names:
                place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
                yield Import(part_of(path), name, place)


def test_every_part_has_its_place_in_the_order() -> None:
    parts = {part_of(path) for path in MODULES} - {"__init__"}

    assert parts - set(RANKS) == set()


def test_a_part_imports_only_from_parts_before_it() -> None:
    wrong = [
        f"{found.place}: {found.importer} imports {found.imported}"
        for found in imports()
        if found.importer not in ("__init__", found.imported)
        and not RANKS.get(found.imported, 999) < RANKS[found.importer]
    ]

    assert wrong == []


def test_the_package_itself_imports_nothing_of_its_own_at_once() -> None:
    for node in tree_of(SOURCE / "__init__.py").body:  # its TYPE_CHECKING block is an If
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert not ast.unparse(node).startswith(("from timetrial", "import timetrial"))


def test_only_programs_print() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in MODULES
        if not str(path.relative_to(SOURCE)).startswith(PRINTERS)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]

    assert wrong == []


def test_no_module_is_a_drawer_for_everything() -> None:
    names = {path.stem for path in MODULES} | {path.parent.name for path in MODULES}

    assert names & {"utils", "util", "common", "helpers", "misc"} == set()


def test_no_two_test_files_share_a_name() -> None:
    """Folders of tests are no packages: pytest cannot collect the second of a name."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]

    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_no_module_pickles() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for line in [ast.unparse(node)]
        if any(word in line for word in ("pickle", "marshal", "shelve", "joblib"))
    ]

    assert wrong == []


def public(path: Path) -> Iterator[tuple[str, ast.AST]]:
    tree = tree_of(path)
    yield "the module", tree
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and (
                    inner.name == "__init__" or not inner.name.startswith(("_", "test_"))
                ):
                    overload = any("overload" in ast.unparse(d) for d in inner.decorator_list)
                    if not overload:
                        yield f"{node.name}.{inner.name}", inner


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_everything_public_has_a_docstring(path: Path) -> None:
    silent = [
        name
        for name, node in public(path)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        and not ast.get_docstring(node)
    ]

    assert silent == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_module_level_code_only_defines(path: Path) -> None:
    """No call for its effect, no loop, no open file, no environment at import."""
    allowed = (
        ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
    )
    for node in tree_of(path).body:
        if isinstance(node, ast.Expr):
            docstring = isinstance(node.value, ast.Constant)
            wires_a_verb = ast.unparse(node.value).startswith("app.")
            assert docstring or wires_a_verb, ast.unparse(node)
        elif isinstance(node, ast.If):
            guard = ast.unparse(node.test)
            assert "TYPE_CHECKING" in guard or "__name__" in guard or "sys.platform" in guard, guard
        else:
            assert isinstance(node, allowed), ast.unparse(node)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            text = ast.unparse(node.value)
            for word in ("os.environ", "open(", "read_text", "read_bytes", "getenv", "urlopen"):
                assert word not in text or "lambda" in text, text


def test_importing_every_module_prints_nothing_and_reads_no_environment(tmp_path: Path) -> None:
    """All but those that need a framework, whose import is the point."""
    skipped = (
        "with_", "torch_exchange", "frameworks/", "algorithms/", "__main__", "worker",
        "testing/",
    )  # fmt: skip
    names = [
        "timetrial." + ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for path in MODULES
        if not any(word in str(path.relative_to(SOURCE)) for word in skipped)
    ]
    code = (
        "import importlib, logging, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name.removesuffix('.__init__'))\n"
        "assert logging.getLogger().handlers == []\n"
        "heavy = {'torch', 'sklearn', 'jax', 'tensorflow', 'keras', 'matplotlib', 'pandas'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
