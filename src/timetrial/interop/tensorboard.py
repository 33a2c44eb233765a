"""Runs as TensorBoard's event files: a folder per run with scalars and hyper-parameters.

A run's file holds nothing but what the run left, so a second export gives the same bytes.
TensorBoard's own package makes and frames the events; TensorFlow is not needed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from timetrial.errors import MissingExtraError, UsageError
from timetrial.interop import Receipt, place_errors, receipt
from timetrial.interop.tracked import Scalar, TrackedRun
from timetrial.rundir import write_atomically

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

_FILE_VERSION: Final = "brain.Event:2"  # said by the first event of every file


class TensorBoardExporter:
    """Exports to a log directory: `into` is its path. TensorBoard keeps values as float32."""

    def export(self, runs: Sequence[TrackedRun], into: str) -> Iterator[Receipt]:
        """Write one event file per run, at `into`/run/events.out.tfevents.…

        Raises:
            MissingExtraError: TensorBoard is not installed.
            UsageError: The run's folder holds event files of something else.
            StoreError: It cannot be written.
        """
        for run in runs:
            path = Path(into) / run.name / _file_name(run)
            content = _content(run)
            with place_errors(into):
                path.parent.mkdir(parents=True, exist_ok=True)
                _refuse_others(path)
                old = path.read_bytes() if path.is_file() else None
            if old == content:
                yield receipt(run, "unchanged", str(path))
                continue
            write_atomically(path, content)
            yield receipt(run, "exported" if old is None else "replaced", str(path))


def _file_name(run: TrackedRun) -> str:
    return f"events.out.tfevents.{run.began_utc_ns // 10**9}.timetrial-{run.identity[:12]}"


def _refuse_others(path: Path) -> None:
    """Refuse a folder with other event files: TensorBoard would show both as one run."""
    others = sorted(
        file.name for file in path.parent.iterdir() if "tfevents" in file.name and file != path
    )
    if others:
        raise UsageError(
            f"{path.parent} holds event files of something else, such as {others[0]}: TensorBoard "
            "would show both as one run. Choose another place with --into."
        )


def _content(run: TrackedRun) -> bytes:
    """Return the bytes of the event file."""
    try:
        from tensorboard.summary.writer.record_writer import RecordWriter

        events = list(_events(run))
    except ImportError as error:
        raise MissingExtraError(
            "Exporter tensorboard needs TensorBoard, which", extra="tensorboard"
        ) from error
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for event in events:
        writer.write(event.SerializeToString(deterministic=True))
    return buffer.getvalue()


def _events(run: TrackedRun) -> Iterator[Event]:
    """Yield what the file holds: its version, the session's begin, all scalars, the end."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    began_s, ended_s = run.began_utc_ns / 1e9, run.ended_utc_ns / 1e9
    yield Event(wall_time=began_s, file_version=_FILE_VERSION)
    begun = HParamsPluginData()
    begun.session_start_info.start_time_secs = began_s
    for name, value in run.params.items():
        setattr(begun.session_start_info.hparams[name], _kind(value), value)
    tag = metadata.SESSION_START_INFO_TAG
    yield Event(wall_time=began_s, summary=_session(tag, begun))
    for name, step, utc_ns, number in run.points():
        scalar = Summary(value=[Summary.Value(tag=name, simple_value=number)])
        yield Event(wall_time=utc_ns / 1e9, step=step, summary=scalar)
    over = HParamsPluginData()
    over.session_end_info.end_time_secs = ended_s
    over.session_end_info.status = (
        api_pb2.STATUS_SUCCESS if run.went_well else api_pb2.STATUS_FAILURE
    )
    yield Event(wall_time=ended_s, summary=_session(metadata.SESSION_END_INFO_TAG, over))


def _kind(value: Scalar) -> str:
    """Return the field of TensorBoard's value that holds it."""
    if isinstance(value, bool):
        return "bool_value"
    return "string_value" if isinstance(value, str) else "number_value"


def _session(tag: str, data: HParamsPluginData) -> Summary:
    """Return a summary of the hyper-parameters' plug-in, its map's entries in one order."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata

    described = metadata.create_summary_metadata(data)
    versioned = type(data).FromString(described.plugin_data.content)
    described.plugin_data.content = versioned.SerializeToString(deterministic=True)
    value = Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])
