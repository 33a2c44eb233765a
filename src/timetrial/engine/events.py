"""The lines of a run's logs. `t_ns` is the machine's time.monotonic_ns, `utc_ns` its wall clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from timetrial.rundir import LogReader
from timetrial.spec import Dtype, Record, SplitName

SegmentName: TypeAlias = Literal[
    "provision",
    "environment",
    "imports",
    "data",
    "encode",
    "bin",
    "build",
    "compile",
    "train",
    "measure",
    "infer",
    "eval",
    "checkpoint",
    "log",
    "wait",
    "teardown",
]
Status: TypeAlias = Literal[
    "reached", "budget", "diverged", "out_of_memory", "timeout", "killed", "error", "pruned"
]
"""pruned: a search gave the run up, as others were better by then (tune).

The worker was asked to stop and saved its state; its own last word has no status.
"""
PARTS: Final = ("data", "forward", "backward", "communication", "optimizer", "fused")
"""fused: forward, backward and optimizer are one compiled program and cannot be told apart."""


# --- written by the launcher ---------------------------------------------------------------------


class Allocated(Record, frozen=True, kw_only=True, tag_field="event", tag="allocated"):
    """An attempt begins: the machine is taken, or asked for where `granted` follows."""

    t_ns: int
    utc_ns: int
    attempt: int
    boot_id: str | None
    host: str
    pid: int  # of the launcher


class Granted(Record, frozen=True, kw_only=True, tag_field="event", tag="granted"):
    """The machines that were asked for are taken: until now the attempt stood in a queue."""

    t_ns: int
    attempt: int


class Spawned(Record, frozen=True, kw_only=True, tag_field="event", tag="spawned"):
    """A worker process was started."""

    t_ns: int
    attempt: int
    rank: int
    pid: int
    host: str | None = None  # None: the launcher's
    limits: Mapping[str, str]  # what was restricted -> how


class Exited(Record, frozen=True, kw_only=True, tag_field="event", tag="exited"):
    """A worker process ended. Counters cover its whole process tree, short-lived children too."""

    t_ns: int
    attempt: int
    rank: int
    code: int  # negative: the signal that ended it
    user_s: float | None  # wait4
    system_s: float | None
    peak_rss_bytes: int | None  # of the largest single process
    cgroup_cpu_s: float | None
    cgroup_peak_bytes: int | None
    out_of_memory: bool
    why: str = ""  # where others than the worker know, such as a batch system


class Released(Record, frozen=True, kw_only=True, tag_field="event", tag="released"):
    """The attempt ends: the machine is free again."""

    t_ns: int
    utc_ns: int
    attempt: int


LauncherEvent: TypeAlias = Allocated | Granted | Spawned | Exited | Released


# --- written by a worker -----------------------------------------------------------------------


class Started(Record, frozen=True, kw_only=True, tag_field="event", tag="started"):
    """The worker runs its first line."""

    t_ns: int
    utc_ns: int
    attempt: int
    rank: int
    pid: int
    step: int  # from which it goes on
    checkpoint: str | None  # from which file
    boot_id: str | None = None  # whose clock `t_ns` is, None: the launcher's


class Environment(Record, frozen=True, kw_only=True, tag_field="event", tag="environment"):
    """What the framework is and what it was set to."""

    t_ns: int
    versions: Mapping[str, str]
    threads: int
    settings: Mapping[str, str]
    device_name: str


class Segment(Record, frozen=True, kw_only=True, tag_field="event", tag="segment"):
    """A stretch of wall time has ended; `next` says what began at the same instant."""

    t_ns: int  # its end
    start_ns: int
    name: SegmentName
    next: SegmentName
    step: int


class Fenced(Record, frozen=True, kw_only=True, tag_field="event", tag="fenced"):
    """One step, its parts told apart by waiting for the device after each."""

    t_ns: int
    step: int
    total_ns: int
    parts_ns: Mapping[str, int]


class Evaluated(Record, frozen=True, kw_only=True, tag_field="event", tag="evaluated"):
    """The metrics of one split after `step` steps, computed by the engine from the scores.

    Of a script that handed in no predictions, `accuracy` is its claim: `recomputed` is False,
    `examples` is 0 and `scores_sha256` is empty.
    """

    t_ns: int
    step: int
    split: SplitName
    examples: int  # rows of scores received
    accuracy: float
    loss: float | None  # mean cross-entropy; None: not finite, or classes without scores
    scores_sha256: str
    top5: float | None = None  # share of labels among the five highest scores, where the task asks
    recomputed: bool = True
    auc: float | None = None  # area under the ROC curve, where the task asks
    claimed: float | None = None  # the accuracy that a script reported beside its predictions


class Measured(Record, frozen=True, kw_only=True, tag_field="event", tag="measured"):
    """One of the task's own measures, at the end."""

    t_ns: int
    step: int
    split: SplitName
    name: str
    value: float | None = None
    table: tuple[tuple[int, ...], ...] = ()  # of the confusion matrix: label × predicted class


class Timed(Record, frozen=True, kw_only=True, tag_field="event", tag="timed"):
    """A probe timed an evaluation of the first `examples` of a split: no metric is kept."""

    t_ns: int
    step: int
    split: SplitName
    examples: int
    seconds: float


class Checkpointed(Record, frozen=True, kw_only=True, tag_field="event", tag="checkpointed"):
    """A state is safely on disk."""

    t_ns: int
    step: int
    file: str
    bytes: int
    sha256: str


class Progress(Record, frozen=True, kw_only=True, tag_field="event", tag="progress"):
    """A sign of life inside training."""

    t_ns: int
    step: int


class Stopped(Record, frozen=True, kw_only=True, tag_field="event", tag="stopped"):
    """The worker ends by itself. Status None: asked to stop, the run can be resumed."""

    t_ns: int
    step: int
    status: Status | None
    detail: str


class Commanded(Record, frozen=True, kw_only=True, tag_field="event", tag="commanded"):
    """The command of an open-division run was started."""

    t_ns: int
    pid: int
    sha256: str | None  # of its file just before; None: it has no file of its own


class Said(Record, frozen=True, kw_only=True, tag_field="event", tag="said"):
    """A :::MLLOG line of the command other than an accuracy. Nothing is computed from it."""

    t_ns: int  # when the worker read it
    key: str
    value: str  # as JSON
    time_ms: float | None  # the command's own clock, not believed


class Refused(Record, frozen=True, kw_only=True, tag_field="event", tag="refused"):
    """An accuracy that the command reported does not count."""

    t_ns: int
    why: str


class Ended(Record, frozen=True, kw_only=True, tag_field="event", tag="ended"):
    """The command of an open-division run has ended, and all of its processes with it."""

    t_ns: int
    code: int  # negative: the signal that ended it
    lines: Mapping[str, int]  # key of a :::MLLOG line -> how many; "other keys": beyond the limit
    malformed: int  # :::MLLOG lines that could not be read
    first_malformed: str
    refused: int  # accuracies that do not count
    outlived: int  # processes that still ran when the command had ended, and were killed


class Exchanged(Record, frozen=True, kw_only=True, tag_field="event", tag="exchanged"):
    """An array of one size was summed over all workers, again and again.

    `seconds` has one number per repetition, from this worker's start to its having the sum.
    """

    t_ns: int
    step: int  # which of the run's arrays, from 1
    dtype: Dtype
    bytes: int  # of the array in one worker
    seconds: tuple[float, ...]
    left_out: str | None = None  # why there is no repetition


class Rescored(Record, frozen=True, kw_only=True, tag_field="event", tag="rescored"):
    """Inference begins: the trained model scored the whole split once more, as evaluations do.

    What it predicts in smaller numbers afterwards is compared with these scores.
    """

    t_ns: int
    step: int
    split: SplitName
    examples: int
    accuracy: float
    scores_sha256: str
    ns: int  # that it took; the split lies where evaluations left it


class Inferred(Record, frozen=True, kw_only=True, tag_field="event", tag="inferred"):
    """The trained model predicted `batch` examples at a time, once for each number in `ns`.

    A call's nanoseconds run from the examples in this machine's memory, as the data set stores
    them, to their scores there. Calls of one batch go through the split in its order, again and
    again; `first` is the number of the first of these among them, from 0. Calls that warm up are
    numbered for themselves.
    """

    t_ns: int
    step: int
    split: SplitName
    batch: int
    first: int
    warm_up: bool
    ns: tuple[int, ...]
    furthest: float | None  # of a score from that of the whole split, over the largest of these
    # (None: no number, or no call)
    changed: int  # examples whose highest score is another class's than there
    left_out: str | None = None  # why there is no call


class Found(Record, frozen=True, kw_only=True, tag_field="event", tag="found"):
    """A step of an examination found something out, or says why it could not.

    It counts once the step is `completed`: a step that was cut short is done again as a whole.
    """

    t_ns: int
    step: int  # steps done before
    place: str  # the name of the step
    measure: str
    unit: str
    value: float | None  # None: there is none, `reason` says why
    low: float | None = None  # ends of a 95 % interval, where the step had several observations
    high: float | None = None
    n: int = 1  # observations behind the value
    reason: str = ""
    facts: Mapping[str, str] = msgspec.field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Exhibited(Record, frozen=True, kw_only=True, tag_field="event", tag="exhibited"):
    """A step of an examination left a file. It counts once the step is `completed`."""

    t_ns: int
    step: int
    place: str
    file: str  # in the folder exhibits/
    bytes: int
    sha256: str
    title: str  # for people
    about: str  # what is to be seen in it, for people who cannot see it


class Completed(Record, frozen=True, kw_only=True, tag_field="event", tag="completed"):
    """A step of an examination is done: all it seeks is found, or has a reason."""

    t_ns: int
    step: int  # which of the run's steps, from 1
    place: str
    seconds: float  # it took


WorkerEvent: TypeAlias = (
    Started
    | Environment
    | Segment
    | Fenced
    | Evaluated
    | Measured
    | Checkpointed
    | Progress
    | Stopped
    | Commanded
    | Said
    | Refused
    | Ended
    | Exchanged
    | Found
    | Exhibited
    | Completed
    | Timed
    | Rescored
    | Inferred
)

LAUNCHER_LOG: Final = LogReader[LauncherEvent](LauncherEvent)  # type: ignore[arg-type]
WORKER_LOG: Final = LogReader[WorkerEvent](WorkerEvent)  # type: ignore[arg-type]
