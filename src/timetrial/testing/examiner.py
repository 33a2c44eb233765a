"""An examination that needs nothing, and who carries it out: to test timetrial itself."""

from __future__ import annotations

import struct
import sys
import time
import zlib
from collections.abc import Mapping
from typing import Final

from timetrial.errors import CannotExamineError
from timetrial.examine.scene import Scene
from timetrial.spec import YES_NO, Examination, ExaminationStep, Sought, Source

WAIT_S: Final = 120.0  # of the one that waits to be interrupted

EXAMINATION: Final = Examination(
    name="fake-examination",
    version=1,
    title="What a few lines of Python can find out, to test timetrial itself",
    steps=(
        ExaminationStep(
            name="count",
            about="counts letters",
            seeks=(
                Sought(measure="letters", unit="count", about="letters of a word"),
                Sought(measure="share", unit="fraction", about="share of vowels among them"),
            ),
        ),
        ExaminationStep(
            name="draw",
            about="draws a picture",
            seeks=(Sought(measure="drawn", unit=YES_NO, about="whether a picture was drawn"),),
        ),
        ExaminationStep(
            name="reach",
            about="looks for what nobody has",
            seeks=(
                Sought(measure="distance", unit="m", about="how far away it is"),
                Sought(measure="reached", unit=YES_NO, about="whether it was reached"),
            ),
        ),
    ),
    implementations={
        "fake-tool": "timetrial.testing.examiner:build",
        "waiting-tool": "timetrial.testing.examiner:build_waiting",
        "careless-tool": "timetrial.testing.examiner:build_careless",
    },
    sources=(Source(text="nowhere"),),
    notes=("Not a benchmark.",),
    light_without=("draw",),
)


class FakeExaminer:
    """Counts, draws, and does not reach."""

    def versions(self) -> Mapping[str, str]:
        """Return a made-up version."""
        return {"fake-tool": "1.5"}

    def carry_out(self, scene: Scene) -> None:
        """Do the step."""
        if scene.step.name == "count":
            scene.find("letters", 8, facts={"word": "examined"})
            scene.find("share", 0.5, low=0.157, high=0.843, n=8, notes=["of one word"])
        elif scene.step.name == "draw":
            scene.keep("dot.png", dot_png(), title="A dot", about="one dark pixel")
            scene.keep("said.txt", b"a dot\n", title="What was said", about="two words")
            scene.answer("drawn", True)
        else:
            raise CannotExamineError("nobody has it: bring one")


class WaitingExaminer(FakeExaminer):
    """In its first attempt it waits in the second step until it is interrupted."""

    def carry_out(self, scene: Scene) -> None:
        """Do the step; wait in `draw` unless it was waited there before."""
        been_here = scene.scratch / "been-here"
        if scene.step.name == "draw" and not been_here.exists():
            scene.keep("half.png", dot_png(), title="Half a picture", about="it is to go")
            scene.answer("drawn", False)
            been_here.touch()
            deadline = time.monotonic() + WAIT_S
            while time.monotonic() < deadline:
                scene.look_up()
                time.sleep(0.02)
        super().carry_out(scene)


class CarelessExaminer(FakeExaminer):
    """Forgets a finding."""

    def carry_out(self, scene: Scene) -> None:
        """Find half of what is sought."""
        said = scene.run([sys.executable, "-c", "print('eight')"], timeout_s=60)
        scene.find("letters", 8, notes=[f"a command said {said.strip()}"])


def build() -> FakeExaminer:
    """Make the fake."""
    return FakeExaminer()


def build_waiting() -> WaitingExaminer:
    """Make the one that waits to be interrupted."""
    return WaitingExaminer()


def build_careless() -> CarelessExaminer:
    """Make the one that forgets."""
    return CarelessExaminer()


def dot_png() -> bytes:
    """Return a PNG file of one dark pixel.

    Source: Portable Network Graphics (PNG) Specification, 2nd edition, W3C, 2003, sections 5, 11.
    """
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0\x20")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
