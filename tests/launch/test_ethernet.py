"""Trains of frames: what they are on a wire, and what a loss leaves of them."""

from __future__ import annotations

import struct

from timetrial.launch.network import ethernet

SEGMENT, FRAMES = 1448, 5
PAYLOAD = bytes(range(256)) * 26  # 6656 bytes: four full segments and one of 864
HEADER = 14 + 20 + 32
FIN_PSH_ACK_CWR = 0x01 | 0x08 | 0x10 | 0x80


def words(content: bytes) -> int:
    """The checksum of RFC 1071, written anew: the sum of what a correct header holds is 0xFFFF."""
    total = 0
    for at in range(0, len(content), 2):
        total += int.from_bytes(content[at : at + 2], "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


def train(payload: bytes = PAYLOAD, *, segment: int = SEGMENT) -> bytes:
    """What a TAP device hands over: IPv4, TCP with 12 bytes of options, checksum left out."""
    ethernet = bytes.fromhex("02000a4d000202000a4d00010800")
    length = 20 + 32 + len(payload)
    ip = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, length, 65534, 0x4000, 64, 6, 0, b"\x0a\x4d\0\1", b"\x0a\x4d\0\2"
    )
    ip = ip[:10] + struct.pack("!H", 0xFFFF ^ words(ip)) + ip[12:]
    pseudo = words(ip[12:20] + struct.pack("!HH", 6, length - 20))
    tcp = struct.pack("!HHIIBBHHH", 1, 2, 2**32 - 100, 7, 8 << 4, FIN_PSH_ACK_CWR, 9, pseudo, 0)
    head = struct.pack("=BBHHHH", 1, 1 if segment else 0, HEADER, segment, 34, 16)
    return head + ethernet + ip + tcp + bytes(12) + payload


def fields(frame: bytes) -> tuple[int, int, int, int, bytes]:
    """Kind of train, identity, sequence number, flags, payload."""
    identity = struct.unpack_from("!H", frame, 10 + 14 + 4)[0]
    number = struct.unpack_from("!I", frame, 10 + 34 + 4)[0]
    return frame[1], identity, number, frame[10 + 34 + 13], frame[10 + HEADER :]


def test_a_train_weighs_what_its_frames_weigh_on_a_wire() -> None:
    seen = ethernet.measure(train())

    assert seen == (FRAMES, len(PAYLOAD) + FRAMES * HEADER, HEADER, SEGMENT)
    assert ethernet.destination(train()) == bytes.fromhex("02000a4d0002")


def test_a_single_frame_is_a_train_of_one() -> None:
    single = train(b"x" * 10, segment=0)

    assert ethernet.measure(single) == (1, HEADER + 10, HEADER + 10, 0)
    assert ethernet.without(single, ethernet.measure(single), [0]) == []
    assert ethernet.without(single, ethernet.measure(single), []) == [single]


def test_a_train_that_loses_nothing_is_left_alone() -> None:
    assert ethernet.without(train(), ethernet.measure(train()), []) == [train()]
    assert ethernet.without(train(), ethernet.measure(train()), range(FRAMES)) == []


def test_what_is_left_of_a_train_is_what_its_other_frames_carried() -> None:
    begin, end = ethernet.without(train(), ethernet.measure(train()), [2])

    kind, identity, number, flags, payload = fields(begin)
    assert (kind, identity, number) == (1, 65534, 2**32 - 100)
    assert flags == 0x10 | 0x80  # the last frame alone ends and pushes, the first alone has CWR
    assert payload == PAYLOAD[: 2 * SEGMENT]
    kind, identity, number, flags, payload = fields(end)
    assert (kind, identity, number) == (1, (65534 + 3) % 65536, 3 * SEGMENT - 100)
    assert flags == 0x01 | 0x08 | 0x10
    assert payload == PAYLOAD[3 * SEGMENT :]


def test_a_single_frame_that_is_left_is_no_train() -> None:
    _, last = ethernet.without(train(), ethernet.measure(train()), [3])

    assert fields(last)[0] == 0
    assert ethernet.measure(last) == (1, HEADER + 864, HEADER + 864, 0)


def test_the_parts_of_a_train_have_the_sums_that_their_headers_need() -> None:
    for part in ethernet.without(train(), ethernet.measure(train()), [1, 3]):
        ip = part[24:44]
        assert words(ip) == 0xFFFF
        length = struct.unpack_from("!H", ip, 2)[0]
        assert length == len(part) - 24
        pseudo = words(ip[12:20] + struct.pack("!HH", 6, length - 20))
        assert struct.unpack_from("!H", part, 10 + 34 + 16)[0] == pseudo
