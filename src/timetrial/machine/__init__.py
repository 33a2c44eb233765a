"""The machine of a run, recorded before it starts: enough to explain a number, or to repeat it.

gather        the record, in under half a second; imports no framework
busy          why the machine was not quiet, if it was not
system_name   a short name for tables
facts         label -> text for reports
Ceilings      what the machine can do at most, as `timetrial machine` measured it; `kept` keeps them
"""

from timetrial.machine.ceilings import Ceiling, Ceilings, Missing
from timetrial.machine.describe import busy, facts, system_name
from timetrial.machine.gathering import gather
from timetrial.machine.records import CloudInstance, MachineRecord

__all__ = [
    "Ceiling",
    "Ceilings",
    "CloudInstance",
    "MachineRecord",
    "Missing",
    "busy",
    "facts",
    "gather",
    "system_name",
]
