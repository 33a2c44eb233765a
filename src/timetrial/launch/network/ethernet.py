"""Ethernet frames as a TAP device gives them: a virtio header, then one frame or a train of them.

The kernel hands over up to 64 KiB of one TCP stream as a single "frame" with one header, and takes
the same back: the device's user would be the hardware that cuts it up. A train counts here as the
frames that it would be on a wire, so that rate and loss are those of single frames.

Source: linux/include/uapi/linux/virtio_net.h (struct virtio_net_hdr, 10 bytes, in the byte order of
the machine) and linux/drivers/net/tun.c, read 2026-11-22; RFC 791, RFC 9293 for the headers.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Collection
from typing import Final, NamedTuple

HEAD_BYTES: Final = 10
FRAME_BYTES_MAX: Final = HEAD_BYTES + 14 + 65536
_HEAD: Final = struct.Struct("=BBHHHH")  # flags, kind, header's length, segment, checksum's place
_ETHERNET: Final = 14
_TCP4 = 1  # a train of IPv4 TCP frames, the only kind that `netns` allows
_FIN_PSH, _CWR = 0x09, 0x80
_NO_TRAIN: Final = 0


class Train(NamedTuple):
    """How many frames there are, and where their common header ends."""

    frames: int
    wire_bytes: int  # with each frame's own header
    header_bytes: int  # Ethernet, IP and TCP
    segment_bytes: int  # of payload in each frame but the last


def measure(frame: bytes) -> Train:
    """Return what `frame`, with its virtio header, is on a wire."""
    size = len(frame) - HEAD_BYTES
    if not frame[1]:
        return Train(1, size, size, 0)
    _, _, _, segment, tcp, _ = _HEAD.unpack_from(frame)
    header = tcp + (frame[HEAD_BYTES + tcp + 12] >> 4) * 4
    payload = size - header
    frames = max(1, -(-payload // segment))
    return Train(frames, payload + frames * header, header, segment)


def destination(frame: bytes) -> bytes:
    """Return the hardware address that `frame` goes to."""
    return frame[HEAD_BYTES : HEAD_BYTES + 6]


def source(frame: bytes) -> bytes:
    """Return the hardware address that `frame` comes from."""
    return frame[HEAD_BYTES + 6 : HEAD_BYTES + 12]


def without(frame: bytes, train: Train, lost: Collection[int]) -> list[bytes]:
    """Return what is left of a train without its frames number `lost`: shorter trains, in order."""
    left: list[bytes] = []
    kept = (number for number in range(train.frames) if number not in lost)
    for _, run in itertools.groupby(enumerate(kept), lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        left.append(_part(frame, train, numbers[0], numbers[-1] + 1))
    return left


def _part(frame: bytes, train: Train, begin: int, end: int) -> bytes:
    """Return the frames from `begin` to before `end` of a train, as a train of their own."""
    if train.segment_bytes == 0 or (begin == 0 and end == train.frames):
        return frame
    flags, _, header_bytes, segment, tcp, checksum = _HEAD.unpack_from(frame)
    kind = frame[1] if end - begin > 1 else _NO_TRAIN
    head = _HEAD.pack(flags, kind, header_bytes, segment if kind != _NO_TRAIN else 0, tcp, checksum)
    packet = bytearray(frame[HEAD_BYTES : HEAD_BYTES + train.header_bytes])
    payload = memoryview(frame)[HEAD_BYTES + train.header_bytes :]
    payload = payload[begin * segment : end * segment]
    ip = _ETHERNET
    length = train.header_bytes - ip + len(payload)
    (identity,) = struct.unpack_from("!H", packet, ip + 4)
    struct.pack_into("!H", packet, ip + 2, length)
    struct.pack_into("!H", packet, ip + 4, (identity + begin) % 2**16)
    struct.pack_into("!H", packet, ip + 10, 0)
    struct.pack_into("!H", packet, ip + 10, 0xFFFF ^ _sum(packet[ip:tcp]))
    (number,) = struct.unpack_from("!I", packet, tcp + 4)
    struct.pack_into("!I", packet, tcp + 4, (number + begin * segment) % 2**32)
    if end < train.frames:
        packet[tcp + 13] &= ~_FIN_PSH & 0xFF
    if begin > 0:
        packet[tcp + 13] &= ~_CWR & 0xFF
    # The checksum is left to the hardware: the field holds the sum of the pseudo header.
    pseudo = bytes(packet[ip + 12 : ip + 20]) + struct.pack("!HH", 6, length - (tcp - ip))
    struct.pack_into("!H", packet, tcp + 16, _sum(pseudo))
    return head + bytes(packet) + bytes(payload)


def _sum(content: bytes | bytearray) -> int:
    """Return the ones' complement sum of 16-bit words (RFC 1071); `content` has an even length."""
    total: int = sum(struct.unpack(f"!{len(content) // 2}H", content))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total
