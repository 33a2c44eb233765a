"""What is recorded of the machine before a run starts. None: the system does not tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from timetrial.spec import Record

FORMAT = 1


class Checkout(Record, frozen=True, kw_only=True):
    """The state of a git repository; `dirty`: a tracked file differs from the commit."""

    commit: str
    dirty: bool


class Software(Record, frozen=True, kw_only=True):
    """What runs."""

    os: str
    kernel: str
    python: str
    executable: str
    timetrial: str
    packages: Mapping[str, str]  # name -> version, of all that can be imported
    command: tuple[str, ...]
    directory: str
    checkout: Checkout | None  # of the directory
    timetrial_checkout: Checkout | None  # of timetrial's own source, where it is a git checkout
    environment: Mapping[str, str]  # only the variables that change speed


class Cpu(Record, frozen=True, kw_only=True):
    """The processor and how much of it this process may use."""

    model: str | None
    architecture: str
    physical_cores: int | None
    logical_cores: int | None
    allowed_cores: int | None  # by affinity
    quota_cores: float | None  # by the cgroups of this process; None: no quota
    max_frequency_hz: float | None
    governor: str | None
    cache_bytes: Mapping[str, int]  # such as L2 -> bytes of the one that core 0 uses
    instructions: tuple[str, ...]  # of those that matter for training


class Memory(Record, frozen=True, kw_only=True):
    """Memory of the machine, and the limit of the cgroups of this process."""

    total_bytes: int
    available_bytes: int
    swap_bytes: int
    limit_bytes: int | None


class Disk(Record, frozen=True, kw_only=True):
    """The disk that holds the run directories."""

    device: str | None
    file_system: str | None
    rotational: bool | None
    free_bytes: int


class Accelerator(Record, frozen=True, kw_only=True):
    """One GPU."""

    name: str | None
    memory_bytes: int | None
    power_limit_w: float | None
    driver: str | None
    cuda: str | None


class Virtualisation(Record, frozen=True, kw_only=True):
    """Whether the machine is real."""

    hypervisor: bool | None
    product: str | None  # what the firmware says of itself
    container: str | None


class CloudInstance(Record, frozen=True, kw_only=True):
    """What the cloud's metadata service says of this machine."""

    provider: Literal["aws", "gcp", "azure"]
    instance_type: str
    region: str | None  # the zone, where the provider tells only that
    spot: bool | None


class Load(Record, frozen=True, kw_only=True):
    """What else the machine was doing, before the run and while this record was made."""

    load_1min: float | None
    steal_since_boot_s: float | None
    window_s: float  # of the following two
    steal_in_window_s: float | None
    busy_processes: int | None  # others that used over 30 % of a core
    busy_since_boot_s: float | None = None  # of all cores; without idling and what was stolen


class MachineRecord(Record, frozen=True, kw_only=True):
    """One machine at the start of one run."""

    format: int
    time_utc: str
    user: str | None
    hostname: str
    boot_id: str | None
    software: Software
    cpu: Cpu
    memory: Memory
    disk: Disk
    accelerators: tuple[Accelerator, ...]
    accelerators_reason: str | None  # why there are none
    virtualisation: Virtualisation
    cloud: CloudInstance | None
    load: Load
