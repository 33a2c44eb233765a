"""The hosts file of the launcher ssh."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from timetrial.errors import UsageError
from timetrial.launch.remote.hosts import Host, read_hosts, seats
from timetrial.launch.ssh import SshLauncher
from timetrial.testing import runs


def written(place: Path, text: str) -> Path:
    path = place / "hosts.toml"
    path.write_text(text)
    return path


def test_keys_above_the_hosts_hold_for_all_of_them(tmp_path: Path):
    text = 'python = "/opt/python"\n[[hosts]]\nhost = "a"\n[[hosts]]\nhost = "b"\npython = "/b"\n'
    assert [(host.host, host.python) for host in read_hosts(written(tmp_path, text))] == [
        ("a", "/opt/python"),
        ("b", "/b"),
    ]


def test_a_configuration_of_ssh_is_looked_for_beside_the_file(tmp_path: Path):
    [host] = read_hosts(written(tmp_path, 'ssh_config = "own"\n[[hosts]]\nhost = "a"\n'))
    assert host.ssh_config == str(tmp_path / "own")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lists no hosts"),
        ("hosts = 3", "lists no hosts"),
        ('[[hosts]]\nhost = "-oProxyCommand=x"', "host = '-oProxyCommand=x' is not possible"),
        ('[[hosts]]\nhost = "a b"', "host = 'a b' is not possible"),
        ('[[hosts]]\nhost = "a"\nuser = "-x"', "user = '-x' is not possible"),
        ('[[hosts]]\nhost = "a"\nport = 70000', "port"),
        ('[[hosts]]\nhost = "a"\nslots = 0', "slots"),
        ('[[hosts]]\nname = "a"', "Known keys: host, address, user"),
        ('[[hosts]]\nhost = "a"\n[', "is not TOML"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, said: str):
    with pytest.raises(UsageError) as error:
        read_hosts(written(tmp_path, text))
    assert said in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"absent\.toml cannot be read: No such file"):
        read_hosts(tmp_path / "absent.toml")


def test_the_slots_of_the_first_host_come_first():
    hosts = [Host(host="a", slots=2), Host(host="b")]
    assert [host.host for host in seats(hosts, 3)] == ["a", "a", "b"]
    assert [host.host for host in seats(hosts, 1)] == ["a"]
    with pytest.raises(UsageError, match="--workers 4 is not possible: the hosts file has 3 slots"):
        seats(hosts, 4)


def test_a_plan_names_the_hosts_file_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = written(tmp_path, '[[hosts]]\nhost = "a"\n')
    monkeypatch.chdir(tmp_path)
    plan = msgspec.structs.replace(runs.fake_plan(), cluster="hosts.toml")
    assert SshLauncher().settle(plan).cluster == str(path)  # it can be resumed from elsewhere
    with pytest.raises(UsageError, match="has 1 slot"):
        SshLauncher().settle(msgspec.structs.replace(plan, workers=2))
