"""What a step of several workers will take, predicted: its computing and the exchange of gradients.

The model is of synchronous training by ring all-reduce, nothing overlapped. A step of k workers
takes

    T(k) = C(k) + m (k - 1) r R + 2 (k - 1) / k 8 S / B

with C(k) the computing of one worker, m messages with S bytes of gradients in all, R the round trip
of the network, r how many of them a message takes between two workers (1 for a ring that sends at
once; gloo's asks first whether the other is ready, and takes 2), and B the bandwidth that one
direction of a worker's link comes to. B is less than the link's where little is on its way at once.

Ratios of measured runs are in `stats.speedup`.

Source: Thakur, Rabenseifner and Gropp, IJHPCA 19 (2005), section 4.3 (ring); Mathis, Semke, Mahdavi
and Ott, Comput. Commun. Rev. 27 (1997), 67-82, section 2 (a window per round trip).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from jaxtyping import Float

from timetrial.errors import UsageError
from timetrial.spec import Record
from timetrial.stats.exchanges import Time, from_draws
from timetrial.stats.intervals import Estimate
from timetrial.stats.speedup import ring_bytes

SEGMENT_BYTES: Final = 1448  # of a TCP segment on Ethernet: 1,500 - 20 (IP) - 32 (TCP, timestamps)
FRAME_BYTES: Final = 1514  # that carries it: 1,500 and Ethernet's header
GLOO_TRIPS: Final = 2  # of a message: its ring asks first whether the other is ready
FIRST_SEGMENTS: Final = 10
"""Segments that TCP sends before it has heard of any. Source: RFC 6928, section 2."""
GLOO_AHEAD_BYTES: Final = 2 * 2**20
GLOO_PART_BYTES: Final = 2**20
"""What gloo's ring has on its way at once, and in which parts: two segments of at most 1 MiB.

Source: pytorch/gloo, gloo/allreduce.cc (ring) and allreduce.h (maxSegmentSize), read 2026-11-22.
Measured: 340 Mbit/s over a link of 1 Gbit/s and a round trip of 40 ms; by the formula 337.
"""


class Network(Record, frozen=True, kw_only=True):
    """One direction of a worker's link, a round trip, and what may be on its way at once."""

    bandwidth_bit_per_s: float
    round_trip_s: float
    window_bytes: float = math.inf  # on its way at once: TCP's buffers, or what a ring sends ahead
    part_bytes: float = 0.0  # that must have arrived whole before more is sent; 0: TCP's own window

    def reachable_bit_per_s(self) -> float:
        """Return the bandwidth that one connection comes to with much to send.

        A window takes its time on the link, or a round trip and the time of a part if that is
        longer: min(B, W / R) for TCP's own window.
        """
        if math.isinf(self.window_bytes):
            return self.bandwidth_bit_per_s
        bits = 8 * self.window_bytes
        sending_s = bits / self.bandwidth_bit_per_s
        waiting_s = self.round_trip_s + 8 * self.part_bytes / self.bandwidth_bit_per_s
        return bits / max(sending_s, waiting_s)


def exchange_s(
    size_bytes: float,
    workers: int,
    network: Network,
    *,
    messages: int = 1,
    trips: float = 1.0,
) -> float:
    """Return the seconds of an all-reduce of `size_bytes` in all, sent as so many messages.

    One worker exchanges nothing: 0. A message of up to a window is never kept waiting.
    """
    rounds = messages * (workers - 1) * trips
    each = ring_bytes(size_bytes, workers) / messages
    reachable = each > network.window_bytes
    rate = network.reachable_bit_per_s() if reachable else network.bandwidth_bit_per_s
    return rounds * network.round_trip_s + 8 * messages * each / rate


def gradient_exchange_s(
    size_bytes: float, workers: int, *, rate_bit_per_s: float, delay_s: float
) -> float:
    """Return the seconds of gloo's all-reduce of gradients by the network's rate and delay alone.

    The rate is that of Ethernet frames of 1,514 bytes, each way; the delay is one way.
    """
    network = Network(
        bandwidth_bit_per_s=rate_bit_per_s * SEGMENT_BYTES / FRAME_BYTES,
        round_trip_s=2 * delay_s,
        window_bytes=GLOO_AHEAD_BYTES,
        part_bytes=GLOO_PART_BYTES,
    )
    return exchange_s(size_bytes, workers, network, trips=GLOO_TRIPS)


def opening_s(size_bytes: float, network: Network) -> float:
    """Return what a TCP connection loses on `size_bytes` because it begins with a small window.

    It sends FIRST_SEGMENTS, hears of them a round trip later, and sends twice as many, until the
    window fills the link or all is sent; in between the link is idle. A connection begins so, and,
    where net.ipv4.tcp_slow_start_after_idle is 1 and the congestion control is not BBR, again
    after each pause longer than the retransmission timeout, 0.2 s at least.

    Source: Kurose and Ross, Computer Networking, 2nd ed. (2002), section 3.7.2 (static window and
    slow start); RFC 5681, section 4.1; RFC 6298 and Linux' TCP_RTO_MIN; net/ipv4/tcp_output.c,
    tcp_slow_start_after_idle_check (leaves BBR out), read 2026-11-22.
    """
    window = FIRST_SEGMENTS * SEGMENT_BYTES
    sent, lost_s = 0.0, 0.0
    while sent + window < size_bytes:
        idle_s = network.round_trip_s - 8 * window / network.bandwidth_bit_per_s
        if idle_s <= 0:
            break
        lost_s += idle_s
        sent += window
        window *= 2
    return lost_s


def step_estimate(compute_s: Float[np.ndarray, " runs"], exchange: Time) -> Estimate:
    """Return the seconds of a step: the mean of its computing over runs, and one exchange.

    The interval is of resampled runs and the exchange's draws together; with one run there is none.

    Raises:
        UsageError: No run.
    """
    if len(compute_s) == 0:
        raise UsageError("No step without a run. Run one worker first: its computing is needed.")
    value, n = float(compute_s.mean()) + exchange.seconds, len(compute_s)
    if n == 1:
        return Estimate(value=value, low=None, high=None, n=1, method="one run")
    generator = np.random.default_rng(0)
    means = generator.choice(compute_s, (len(exchange.draws_s), n)).mean(axis=1)
    return from_draws(value, means + exchange.draws_s, n)


def last_paying_worker(
    compute_s: Float[np.ndarray, " draws"],
    size_bytes: float,
    *,
    bandwidth_bit_per_s: Float[np.ndarray, " draws"],
    message_s: Float[np.ndarray, " draws"],
    messages: int = 1,
) -> Float[np.ndarray, " draws"]:
    """Return the predicted break-even: the last worker whose coming shortens a step.

    Strong scaling: the computing of one worker, `compute_s`, divides evenly, C(k) = C / k.
    `message_s` is the latency of a message between two workers, r R. The k-th worker pays where
    C - 16 S / B > m r R k (k - 1). 1: not even a second pays; infinite where no latency ever stops
    it. The arrays hold draws, or a single number each.

    Raises:
        UsageError: No bytes, or no message.
    """
    if not size_bytes > 0 or messages < 1:
        raise UsageError(
            f"Not an exchange of gradients: {size_bytes:g} bytes in {messages} messages. Allowed: "
            "above 0 bytes, 1 message and more."
        )
    left = compute_s - 16 * size_bytes / bandwidth_bit_per_s
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(left > 0, left / (messages * message_s), 0.0)
        last = np.ceil((1 + np.sqrt(1 + 4 * ratio)) / 2) - 1  # the largest k below the root
    found: Float[np.ndarray, " draws"] = np.maximum(last, 1.0)
    return found
