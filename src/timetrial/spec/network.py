"""The emulated network of a run, as asked for: rate, delay and loss between its workers.

"rate=100mbit,delay=5ms,loss=0.1%"     all links alike
"rate=1gbit,delay=1ms/1:rate=10mbit"   worker 1's own link differs: 10 Mbit/s, still 1 ms

Every worker has one link to a switch that is not a limit itself. Between two workers, the delay one
way and the loss are the means of their two links', the rate is the smaller one; a link sends and
receives at its rate at the same time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from timetrial.errors import UnknownNameError, UsageError
from timetrial.spec.rules import Record

_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-z%]*)", re.IGNORECASE)
_RATES: Final = {"gbit": 1e9, "mbit": 1e6, "kbit": 1e3, "bit": 1.0}
_TIMES: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_RATE_MIN, _RATE_MAX = 1e4, 1e11
_DELAY_MAX_S: Final = 10.0
_UNLIMITED: Final = "unlimited"


class Link(Record, frozen=True, kw_only=True):
    """One worker's link to the switch."""

    rate_bit_per_s: float | None = None  # of Ethernet frames, each way; None: no limit set
    delay_s: float = 0.0  # one way, to a worker whose link has the same
    loss: float = 0.0  # fraction of frames, each for itself, one way


class Network(Record, frozen=True, kw_only=True):
    """The links of all workers: one for all, and those of single workers that differ."""

    rate_bit_per_s: float | None = None
    delay_s: float = 0.0
    loss: float = 0.0
    links: Mapping[int, Link] = msgspec.field(default_factory=dict)  # rank -> its own link

    def link(self, rank: int) -> Link:
        """Return the link of one worker."""
        every = Link(rate_bit_per_s=self.rate_bit_per_s, delay_s=self.delay_s, loss=self.loss)
        return self.links.get(rank, every)

    def __str__(self) -> str:
        """Return the canonical text: equal for equal networks, and read back by `parse_network`."""
        every = Link(rate_bit_per_s=self.rate_bit_per_s, delay_s=self.delay_s, loss=self.loss)
        parts = [_text(every, Link()) or f"rate={_UNLIMITED}"]
        for rank, link in sorted(self.links.items()):
            own = _text(link, every)
            parts += [f"{rank}:{own}"] if own else []
        return "/".join(parts)


def parse_network(text: str) -> Network:
    """Return the network that `text` asks for; see the top of this module.

    Raises:
        UsageError: A value without meaning: a negative one, an unknown unit, a key given twice.
        UnknownNameError: A key other than rate, delay and loss.
    """
    every, *others = text.strip().split("/")
    base = _link(every, Link(), text)
    links: dict[int, Link] = {}
    for other in others:
        rank, colon, settings = other.partition(":")
        if not colon or not rank.strip().isdecimal():
            raise UsageError(
                f"--network {text} is not a network: {other!r} names no worker. After a slash "
                "comes a worker and what differs for it, such as /1:rate=10mbit."
            )
        number = int(rank)
        if number in links:
            raise UsageError(f"--network {text} names worker {number} twice. Name it once.")
        links[number] = _link(settings, base, text)
    return Network(
        rate_bit_per_s=base.rate_bit_per_s,
        delay_s=base.delay_s,
        loss=base.loss,
        links={rank: link for rank, link in links.items() if link != base},
    )


def check_network(network: Network, workers: int) -> None:
    """Refuse a network that names workers which the run does not have.

    Raises:
        UsageError: It does.
    """
    beyond = [rank for rank in sorted(network.links) if rank >= workers]
    if beyond:
        raise UsageError(
            f"--network {network} names worker {beyond[0]}, but the run has {workers}. "
            f"Allowed: 0 to {workers - 1}."
        )


def _link(settings: str, base: Link, whole: str) -> Link:
    """Return `base` with what `settings` says instead."""
    read: dict[str, tuple[str, Callable[[str, str], float | None]]] = {
        "rate": ("rate_bit_per_s", _rate),
        "delay": ("delay_s", _delay),
        "loss": ("loss", _loss),
    }
    seen: dict[str, float | None] = {}
    for setting in settings.split(","):
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not equals:
            raise UsageError(
                f"--network {whole} is not a network: {setting!r} is no setting. Allowed: "
                "rate=100mbit, delay=5ms and loss=0.1%, with commas between them."
            )
        if key not in read:
            raise UnknownNameError("key of --network", key, read)
        name, reader = read[key]
        if name in seen:
            raise UsageError(f"--network {whole} gives {key} twice. Give it once.")
        seen[name] = reader(value, whole)
    return msgspec.structs.replace(base, **seen)


def _rate(value: str, whole: str) -> float | None:
    if value == _UNLIMITED:
        return None
    rate = _quantity(value, _RATES)
    if rate is None or not _RATE_MIN <= rate <= _RATE_MAX:
        raise UsageError(
            f"--network {whole}: rate={value} is not possible. Allowed: 10kbit to 100gbit, units "
            "kbit, mbit and gbit (bits in a second), or unlimited."
        )
    return rate


def _delay(value: str, whole: str) -> float:
    delay = 0.0 if value == "0" else _quantity(value, _TIMES)
    if delay is None or delay > _DELAY_MAX_S:
        raise UsageError(
            f"--network {whole}: delay={value} is not possible. Allowed: 0 to 10s one way, units "
            "us, ms and s, such as 5ms."
        )
    return delay


def _loss(value: str, whole: str) -> float:
    loss = _quantity(value, {"%": 0.01, "": 1.0})
    if loss is None or not loss < 1:
        raise UsageError(
            f"--network {whole}: loss={value} is not possible. Allowed: 0 to below 1, such as "
            "0.1% or 0.001."
        )
    return loss


def _quantity(value: str, units: Mapping[str, float]) -> float | None:
    """Return the number that `value` names in the base unit, None where it names none."""
    match = _QUANTITY.fullmatch(value)
    factor = units.get(match[2].lower()) if match else None
    return None if match is None or factor is None else _clean(float(match[1]) * factor)


def _clean(value: float) -> float:
    """Return `value` with 12 digits: 0.1 % is 0.001 and not 0.0010000000000000002."""
    return float(f"{value:.12g}")


def _text(link: Link, base: Link) -> str:
    """Return the settings in which `link` differs from `base`; empty where it does not."""
    parts = []
    if link.rate_bit_per_s != base.rate_bit_per_s:
        rate = link.rate_bit_per_s
        parts.append(f"rate={_UNLIMITED if rate is None else _scaled(rate, _RATES)}")
    if link.delay_s != base.delay_s:
        parts.append(f"delay={_scaled(link.delay_s, _TIMES)}")
    if link.loss != base.loss:
        parts.append(f"loss={_plain(100 * link.loss)}%")
    return ",".join(parts)


def _scaled(value: float, units: Mapping[str, float]) -> str:
    """Return a value in the largest unit that gives 1 or more."""
    if value == 0:
        return "0"
    fitting = [unit for unit, factor in units.items() if _clean(value / factor) >= 1]
    unit = fitting[0] if fitting else list(units)[-1]
    return f"{_plain(value / units[unit])}{unit}"


def _plain(value: float) -> str:
    """Return a number without an exponent, which the reader does not take."""
    decimals = max(0, 11 - math.floor(math.log10(value))) if value else 0
    text = f"{_clean(value):.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
