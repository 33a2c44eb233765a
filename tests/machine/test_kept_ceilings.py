"""Ceilings are kept between runs, and count only where they fit the machine as it is."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest
from ceiling_records import ceilings, here

from timetrial.errors import FormatError, StoreError
from timetrial.machine import kept
from timetrial.machine.ceilings import FORMAT
from timetrial.machine.records import Accelerator, MachineRecord
from timetrial.rundir import RunDir


@pytest.fixture(scope="module")
def machine() -> MachineRecord:
    return here()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"TIMETRIAL_CACHE": str(tmp_path / "cache")}


def test_what_is_kept_is_found_again(machine: MachineRecord, environ: dict[str, str]) -> None:
    assert kept.find_kept(machine, environ) is None
    found = ceilings(machine)

    file = kept.keep(found, environ)

    assert file.parent.name == "ceilings"
    assert kept.find_kept(machine, environ) == found


def test_a_light_measurement_counts_only_without_a_whole_one(
    machine: MachineRecord, environ: dict[str, str]
) -> None:
    light, whole = ceilings(machine, light=True), ceilings(machine)

    kept.keep(light, environ)
    assert kept.find_kept(machine, environ) == light
    kept.keep(whole, environ)
    kept.keep(light, environ)
    assert kept.find_kept(machine, environ) == whole


def test_only_the_same_host_processor_cores_and_gpus_fit(machine: MachineRecord) -> None:
    replace = msgspec.structs.replace
    gpu = Accelerator(name="H100", memory_bytes=None, power_limit_w=None, driver=None, cuda=None)
    found = ceilings(machine)

    assert found.fits(machine)
    assert found.fits(replace(machine, boot_id="another start")), "a start changes no ceiling"
    for other in (
        replace(machine, hostname="elsewhere"),
        replace(machine, cpu=replace(machine.cpu, model="another")),
        replace(machine, cpu=replace(machine.cpu, allowed_cores=99)),
        replace(machine, accelerators=(*machine.accelerators, gpu)),
    ):
        assert not found.fits(other)


def test_a_damaged_file_is_none_with_a_warning(
    machine: MachineRecord, environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    file = kept.keep(ceilings(machine), environ)
    file.write_bytes(file.read_bytes()[:100])

    with caplog.at_level(logging.WARNING):
        assert kept.find_kept(machine, environ) is None

    assert "is damaged" in caplog.text
    assert "timetrial machine" in caplog.text


def test_a_newer_format_is_refused(machine: MachineRecord, environ: dict[str, str]) -> None:
    file = kept.keep(ceilings(machine, format=FORMAT + 1), environ)

    with pytest.raises(FormatError, match=f"has format {FORMAT + 1}"):
        kept.read_ceilings(file)


def test_medians_of_the_first_format_become_best_rounds(
    machine: MachineRecord, environ: dict[str, str]
) -> None:
    now = ceilings(machine)
    file = kept.keep(now, environ)
    seen = msgspec.json.decode(file.read_bytes())
    seen["format"] = 1
    for ceiling in seen["ceilings"]:
        ceiling.update(value=80e9, low=70e9, high=90e9, best=100e9)
        del ceiling["median"]
    seen["ceilings"][1] |= {"unit": "s", "value": 8e-6, "best": 5e-6}
    seen["ceilings"][2]["best"] = None  # of a fit
    file.write_bytes(msgspec.json.encode(seen))

    found = kept.read_ceilings(file)

    assert found.format == FORMAT
    ends = [(c.low, c.value, c.high, c.median) for c in found.ceilings[:3]]
    assert ends == [
        (100e9, 100e9, None, 80e9),
        (None, 5e-6, 5e-6, 8e-6),
        (70e9, 80e9, 90e9, None),
    ]


def test_a_folder_that_cannot_be_made_is_an_error_that_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match="TIMETRIAL_CACHE"):
        kept.make_folder({"TIMETRIAL_CACHE": str(tmp_path / "file")})


def test_a_run_directory_gets_what_fits_and_nothing_else(
    machine: MachineRecord, environ: dict[str, str], tmp_path: Path
) -> None:
    run = RunDir(tmp_path)
    kept.carry(run, machine, environ)
    assert not run.ceilings(machine.hostname).exists()

    kept.keep(ceilings(machine), environ)
    kept.carry(run, machine, environ)

    assert kept.read_ceilings(run.ceilings(machine.hostname)) == ceilings(machine)
