"""Every framework of the registry, and the fake, keep the contract."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from command_line import ROOT

from timetrial import frameworks
from timetrial.errors import MissingExtraError, UnknownNameError
from timetrial.frameworks import Framework
from timetrial.testing import fakes
from timetrial.testing.contracts import FrameworkContract


class TestFake(FrameworkContract):
    @pytest.fixture
    def framework(self) -> Framework:
        return fakes.FakeFramework()

    @pytest.fixture
    def name(self) -> str:
        return "fake"


@pytest.mark.parametrize("name", frameworks.REGISTRY.names())
def test_each_framework_keeps_the_contract_in_a_process_of_its_own(name: str):
    if not frameworks.installed(name):
        pytest.skip(f"{name} is not installed: {frameworks.install_line(name)}")
    file = Path(__file__).with_name("one_framework.py")
    # the variables that set a number of threads would hide what `setup` fails to set
    unset = {key: value for key, value in os.environ.items() if "NUM_THREADS" not in key}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--override-ini=addopts=", "--noconftest", "-q", file],
        env={**unset, "TIMETRIAL_TEST_FRAMEWORK": name},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_the_registry_imports_no_framework():
    code = (
        "import sys, timetrial.frameworks as f\n"
        "for name in f.REGISTRY.names(): f.installed(name), f.version(name)\n"
        "assert not {'jax', 'keras', 'sklearn', 'tensorflow', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_framework_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'torch'"):
        frameworks.require("torhc")


def test_a_framework_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    absent = frameworks.Requirement(modules={"no_such": ()}, extra="torch", devices=("cpu",))
    monkeypatch.setitem(frameworks.REQUIREMENTS, "torch", absent)
    with pytest.raises(MissingExtraError, match=r"pip install 'timetrial\[torch\]'"):
        frameworks.require("torch")


def test_a_framework_of_another_package_is_found_and_counts_as_installed(tmp_path: Path):
    fakes.write_plugin(tmp_path)
    code = (
        "from timetrial import frameworks as f; assert 'fake' in f.REGISTRY.names(); "
        "f.require('fake'); assert f.installed('fake')"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_the_version_of_keras_names_its_backend():
    packages = {"keras": "3.15.1", "tensorflow_cpu": "2.21.0", "jax": "0.10.2"}

    assert frameworks.version("keras-tensorflow", packages) == "3.15.1 on tensorflow 2.21.0"
    assert frameworks.version("keras-jax", packages) == "3.15.1 on jax 0.10.2"
    assert frameworks.version("torch", packages) == ""


@pytest.mark.parametrize("name", sorted(frameworks.REQUIREMENTS))
def test_the_extra_of_each_framework_brings_its_packages(name: str):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    required = frameworks.REQUIREMENTS[name]
    brought = {re.split(r"[<>=;\[ ]", line)[0] for line in extras[required.extra]}

    for distributions in required.modules.values():
        assert brought & set(distributions)
