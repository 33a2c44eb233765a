"""One batch of CIFAR's "python version", read without executing anything in it.

The files are what Python 2 wrote for {"data": array, "labels": list, ...} in protocol 2: a program
for a small stack machine. This is that machine with the few instructions such a file needs. What
the format calls a name to import is compared with the three that make a NumPy array, and never
looked up; every other name and every other instruction is an error.

Source: the Python library's list of the instructions, https://docs.python.org/3/library/
pickletools.html; the state of an array: numpy.ndarray.__setstate__ in NumPy's manual.
"""

from __future__ import annotations

import math
import struct
from typing import Final, TypeVar

import numpy as np

from timetrial.errors import DataError

_RECONSTRUCT: Final = "numpy.core.multiarray _reconstruct"
_NDARRAY: Final = "numpy ndarray"
_DTYPE: Final = "numpy dtype"
_MARK: Final = object()
_Kind = TypeVar("_Kind")


class _Name:
    """A name that the file may use; never looked up."""

    def __init__(self, text: str) -> None:
        self.text = text


class _Bytes:
    """What becomes an array, or the type of its values, once its state is known."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.array: np.ndarray | None = None


def read_batch(content: bytes, *, name: str) -> tuple[np.ndarray, list[int]]:
    """Return the data, uint8 of shape (count, values), and the labels.

    Raises:
        DataError: Not such a file; nothing in it has been executed.
    """
    try:
        batch = _Machine(content).run()
        data, labels = batch[b"data"], batch[b"labels"]
    except (KeyError, IndexError, TypeError, ValueError, UnicodeDecodeError, struct.error) as error:
        raise DataError(
            f"{name} is not a batch of CIFAR's python version: {type(error).__name__}: {error}. "
            "Next step: timetrial data check"
        ) from error
    array = data.array if isinstance(data, _Bytes) else None
    if array is None or array.ndim != 2 or not isinstance(labels, list):
        raise DataError(
            f"{name} holds no array of images and list of labels. Next step: timetrial data check"
        )
    numbers = [label for label in labels if type(label) is int]
    if not len(numbers) == len(labels) == len(array):
        raise DataError(
            f"{name} holds {len(array)} images and {len(numbers)} labels that are whole numbers, "
            f"of {len(labels)}. Next step: timetrial data check"
        )
    return array, numbers


class _Machine:
    """The stack machine; an instruction it does not know is a ValueError."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}

    def run(self) -> dict[object, object]:
        while (code := self._take(1)) != b".":
            self._step(code)
        (result,) = self._stack
        if not isinstance(result, dict) or self._at != len(self._content):
            raise ValueError("the file is not one dict")
        return result

    def _take(self, count: int) -> bytes:
        piece = self._content[self._at : self._at + count]
        if len(piece) != count:
            raise ValueError("the file ends too early")
        self._at += count
        return piece

    def _number(self, form: str) -> int:
        (number,) = struct.unpack(form, self._take(struct.calcsize(form)))
        return int(number)

    def _line(self) -> str:
        end = self._content.index(b"\n", self._at, self._at + 200)
        text = self._take(end - self._at).decode("ascii")
        self._at += 1
        return text

    def _since_mark(self) -> list[object]:
        at = max(i for i, item in enumerate(self._stack) if item is _MARK)
        items = self._stack[at + 1 :]
        del self._stack[at:]
        return items

    def _top(self, count: int) -> tuple[object, ...]:
        if len(self._stack) < count:
            raise ValueError("the stack is empty")
        items = tuple(self._stack[len(self._stack) - count :])
        del self._stack[len(self._stack) - count :]
        return items

    def _step(self, code: bytes) -> None:
        push = self._stack.append
        match code:
            case b"\x80":
                if (protocol := self._number("<B")) > 2:
                    raise ValueError(f"protocol {protocol}; allowed: up to 2")
            case b"}":
                push({})
            case b"]":
                push([])
            case b")":
                push(())
            case b"(":
                push(_MARK)
            case b"N":
                push(None)
            case b"\x88":
                push(True)
            case b"\x89":
                push(False)
            case b"K":
                push(self._number("<B"))
            case b"M":
                push(self._number("<H"))
            case b"J":
                push(self._number("<i"))
            case b"U":
                push(self._take(self._number("<B")))
            case b"T":
                push(self._take(self._number("<I")))
            case b"q":
                self._memo[self._number("<B")] = self._stack[-1]
            case b"r":
                self._memo[self._number("<I")] = self._stack[-1]
            case b"h":
                push(self._memo[self._number("<B")])
            case b"j":
                push(self._memo[self._number("<I")])
            case b"\x85" | b"\x86" | b"\x87":
                push(self._top(code[0] - 0x84))
            case b"t":
                push(tuple(self._since_mark()))
            case b"a" | b"e":
                items = list(self._top(1)) if code == b"a" else self._since_mark()
                self._last(list).extend(items)
            case b"s" | b"u":
                pairs = list(self._top(2)) if code == b"s" else self._since_mark()
                self._last(dict).update(zip(pairs[::2], pairs[1::2], strict=True))
            case b"c":
                push(_Name(_allowed(f"{self._line()} {self._line()}")))
            case b"R":
                push(_made(*self._top(2)))
            case b"b":
                (state,) = self._top(1)
                _set_state(self._last(_Bytes), state)
            case _:
                raise ValueError(f"the instruction {code!r} at byte {self._at - 1} is not allowed")

    def _last(self, kind: type[_Kind]) -> _Kind:
        found = self._stack[-1]
        if not isinstance(found, kind):
            raise ValueError(f"a {type(found).__name__} where a {kind.__name__} belongs")
        return found


def _allowed(name: str) -> str:
    if name not in (_RECONSTRUCT, _NDARRAY, _DTYPE):
        raise ValueError(f"the name {name!r} is not allowed; only those of a NumPy array are")
    return name


def _made(name: object, arguments: object) -> _Bytes:
    if isinstance(name, _Name) and isinstance(arguments, tuple):
        if name.text == _DTYPE and arguments == (b"u1", 0, 1):
            return _Bytes(_DTYPE)
        if name.text == _RECONSTRUCT and len(arguments) == 3:
            of, shape, code = arguments
            if isinstance(of, _Name) and of.text == _NDARRAY and (shape, code) == ((0,), b"b"):
                return _Bytes(_NDARRAY)
    raise ValueError("a call other than those that make an array of bytes")


def _set_state(made: _Bytes, state: object) -> None:
    if not isinstance(state, tuple):
        raise ValueError("a state that is not a tuple")
    if made.kind == _DTYPE:  # version, byte order ("|": none), and what an array of bytes has not
        if state != (3, b"|", None, None, None, -1, -1, 0):
            raise ValueError("values that are not single bytes")
        return
    version, shape, kind, by_column, content = state
    if version != 1 or not isinstance(kind, _Bytes) or kind.kind != _DTYPE:
        raise ValueError("an array of another version or type")
    sizes = [size for size in shape if type(size) is int and size >= 0]
    if len(sizes) != len(shape) or math.prod(sizes) != len(content):
        raise ValueError(f"{len(content)} bytes for an array of shape {shape}")
    made.array = np.frombuffer(content, dtype=np.uint8).reshape(
        sizes, order="F" if by_column else "C"
    )
