"""Finding files on this machine: order, bad copies, what is said when there are none."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_dataset import TINY, TINY_GZ, Web, fill, searching, tiny

from timetrial import datasets
from timetrial.datasets._idx import FILE_NAMES
from timetrial.datasets.info import Address, PackageFolder, SystemFolder
from timetrial.datasets.sources import available, check, locate, search_path
from timetrial.errors import DataError, MissingExtraError, UnknownNameError

CUT_GZ = {name: content[:-9] for name, content in TINY_GZ.items()}


def test_the_environment_says_where_to_look(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    plain = search_path(home)
    assert plain.data_dirs == ()
    assert plain.cache_dir == str(tmp_path / ".cache" / "timetrial")
    assert not plain.offline
    folders = os.pathsep.join((str(tmp_path / "a"), "", str(tmp_path / "b")))
    set_ = search_path({**home, "TIMETRIAL_DATA": folders, "XDG_CACHE_HOME": str(tmp_path / "x")})
    assert set_.data_dirs == (str(tmp_path / "a"), str(tmp_path / "b"))
    assert set_.cache_dir == str(tmp_path / "x" / "timetrial")
    chosen = {"TIMETRIAL_CACHE": str(tmp_path / "c"), "XDG_CACHE_HOME": "/x"}
    assert search_path({**home, **chosen}).cache_dir == str(tmp_path / "c")
    assert search_path({**home, "TIMETRIAL_OFFLINE": "1"}).offline
    assert not search_path({**home, "TIMETRIAL_OFFLINE": "0"}).offline


def test_paths_of_the_search_path_are_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = search_path({"TIMETRIAL_DATA": "data", "TIMETRIAL_CACHE": "cache"})
    assert path.data_dirs == (str(tmp_path / "data"),)
    assert path.cache_dir == str(tmp_path / "cache")


def test_places_are_looked_in_in_order(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    system = fill(tmp_path / "system")
    info = tiny(SystemFolder(folder=str(system)))
    path = searching(cache, tmp_path / "one", tmp_path / "two")
    for folder in (system, cache / "data" / "tiny", tmp_path / "two", tmp_path / "two" / "tiny"):
        fill(folder)
        located = locate(info, path, fetch=False)
        assert set(located.files.values()) == {str(folder / name) for name in TINY}
    assert located.passed_over == ()


def test_each_file_may_come_from_another_place(tmp_path: Path) -> None:
    fill(tmp_path / "data", {FILE_NAMES[0]: TINY_GZ[FILE_NAMES[0]]})
    fill(tmp_path / "cache" / "data" / "tiny", {n: TINY_GZ[n] for n in FILE_NAMES[1:]})
    located = locate(tiny(), searching(tmp_path / "cache", tmp_path / "data"), fetch=False)
    assert located.places[FILE_NAMES[0]].startswith("TIMETRIAL_DATA: ")
    assert {located.places[name].split(":")[0] for name in FILE_NAMES[1:]} == {"cache"}


def test_a_bad_copy_is_passed_over_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path / "data", {**TINY_GZ, FILE_NAMES[0]: CUT_GZ[FILE_NAMES[0]]})
    good = fill(tmp_path / "cache" / "data" / "tiny")
    with caplog.at_level(logging.WARNING):
        located = locate(tiny(), searching(tmp_path / "cache", tmp_path / "data"), fetch=False)
    assert located.files[FILE_NAMES[0]] == str(good / FILE_NAMES[0])
    assert [(bad.file, bad.status) for bad in located.passed_over] == [(FILE_NAMES[0], "cut")]
    assert f"passed over {FILE_NAMES[0]}" in caplog.text


def test_no_source_at_all_lists_all_that_was_tried_and_the_next_step(tmp_path: Path) -> None:
    fill(tmp_path / "data", {FILE_NAMES[0]: CUT_GZ[FILE_NAMES[0]]})
    info = tiny(
        SystemFolder(folder=str(tmp_path / "system")), Address(base_url="http://nowhere.invalid/")
    )
    with pytest.raises(DataError) as caught:
        locate(info, searching(tmp_path / "cache", tmp_path / "data"), fetch=False)
    message = str(caught.value)
    assert "4 of its 4 files missing" in message
    assert f"{tmp_path / 'data'}: cut: the gzip data end too early" in message
    assert f"cache: {tmp_path / 'cache' / 'data' / 'tiny'}: missing" in message
    assert f"system: {tmp_path / 'system'}: missing" in message
    assert "http://nowhere.invalid/: not tried: this command does not fetch" in message
    assert "Next step: timetrial data fetch tiny; or put the files into a folder tiny" in message


def test_without_fetch_or_offline_the_network_is_not_touched(tmp_path: Path, web: Web) -> None:
    info = tiny(Address(base_url=web.url))
    with pytest.raises(DataError, match="does not fetch"):
        locate(info, searching(tmp_path), fetch=False)
    with pytest.raises(DataError, match="TIMETRIAL_OFFLINE is set"):
        locate(info, searching(tmp_path, offline=True), fetch=True)
    assert web.asked == []
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_in_a_package_is_found_without_importing_it(tmp_path: Path) -> None:
    fill(tmp_path / "tinypackage" / "data")
    (tmp_path / "tinypackage" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    place = PackageFolder(module="tinypackage", folder="data", distribution="tiny", extra="t")
    sys.path.insert(0, str(tmp_path))
    try:
        located = locate(tiny(place), searching(tmp_path / "cache"), fetch=False)
    finally:
        sys.path.remove(str(tmp_path))
    assert set(located.places.values()) == {"package: tiny"}


def test_a_package_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)  # as find_spec sees an absent module
    info = datasets.get("digits")
    with pytest.raises(MissingExtraError, match=r"timetrial\[sklearn\]") as caught:
        locate(info, searching(tmp_path), fetch=True)
    assert caught.value.extra == "sklearn"
    told = available(info, searching(tmp_path))
    assert told.state == "unavailable"
    assert "pip install" in told.reason


def test_a_bad_copy_is_not_hidden_by_a_package_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    fill(tmp_path / "digits", {"digits.csv.gz": b"1,2,3\n"})
    with pytest.raises(DataError, match="cut: 6 bytes of content, expected 264712") as caught:
        locate(datasets.get("digits"), searching(tmp_path / "c", tmp_path), fetch=True)
    assert "scikit-learn: missing: not installed; pip install" in str(caught.value)


def test_availability_is_known_ahead(tmp_path: Path) -> None:
    info = tiny(Address(base_url="http://nowhere.invalid/"))
    assert available(info, searching(tmp_path)).state == "fetchable"
    assert "data fetch tiny" in available(info, searching(tmp_path)).reason
    assert available(info, searching(tmp_path, offline=True)).state == "unavailable"
    assert available(tiny(), searching(tmp_path)).state == "unavailable"
    fill(tmp_path / "data" / "tiny")
    here = available(info, searching(tmp_path))
    assert (here.state, here.reason) == ("here", f"cache: {tmp_path / 'data' / 'tiny'}")


def test_check_tells_the_state_of_every_copy(tmp_path: Path) -> None:
    wrong = bytearray(TINY[FILE_NAMES[1]])
    wrong[-1] ^= 1
    fill(
        tmp_path / "data" / "tiny",
        {
            FILE_NAMES[0]: TINY_GZ[FILE_NAMES[0]],
            FILE_NAMES[1]: bytes(wrong),
            FILE_NAMES[2]: CUT_GZ[FILE_NAMES[2]],
        },
    )
    kept = fill(tmp_path / "cache" / "data" / "tiny", {FILE_NAMES[0]: TINY[FILE_NAMES[0]]})
    rows = check(tiny(), searching(tmp_path / "cache", tmp_path / "data"))
    assert [(row.file, row.status) for row in rows] == [
        (FILE_NAMES[0], "ok"),
        (FILE_NAMES[0], "ok"),
        (FILE_NAMES[1], "wrong checksum"),
        (FILE_NAMES[2], "cut"),
        (FILE_NAMES[3], "missing"),
    ]
    assert rows[1].path == str(kept / FILE_NAMES[0])
    assert tiny().files[1].sha256 in rows[2].detail
    assert rows[4].path is None
    assert str(kept) in rows[4].place


def test_an_unknown_data_set_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'mnist'"):
        datasets.get("minst")


@pytest.mark.parametrize("name", datasets.REGISTRY.names())
def test_every_data_set_describes_itself(name: str) -> None:
    info = datasets.get(name)
    assert info.name == name
    assert info.files
    for file in (file for files in info.file_sets for file in files):
        assert len(file.sha256) == (0 if info.is_brought else 64)
        assert (file.size_bytes > 0) != info.is_brought
    assert (
        info.places or info.is_brought or name in ("cifar10-jpeg", "cifar10-sample")
    )  # published nowhere as such
    assert info.classes == len(set(info.class_names))


def test_importing_imports_no_framework_and_touches_nothing() -> None:
    code = (
        "import sys\n"
        "import timetrial.datasets.load, timetrial.datasets.sources\n"
        "from timetrial.datasets import get, REGISTRY\n"
        "from timetrial.datasets.sources import available, search_path\n"
        "for name in ('digits', 'breast-cancer'):\n"
        "    print(available(get(name), search_path({})).state)\n"
        "print([m for m in ('sklearn', 'scipy', 'torch', 'pandas') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["here", "here", "[]"]
