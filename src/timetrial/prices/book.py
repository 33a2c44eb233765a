"""A book of prices, and how a question finds the one that answers it."""

from __future__ import annotations

import datetime
import functools
import operator
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from timetrial.errors import AmbiguousPriceError, UnknownNameError
from timetrial.prices.billing import date_of, words_of
from timetrial.prices.records import Owned, Price, Problem, Rate

ALIASES: Final = {
    "amazon": "aws",
    "google": "gcp",
    "google cloud": "gcp",
    "gce": "gcp",
    "microsoft azure": "azure",
    "lambdalabs": "lambda",
}
_VENDORS: Final = frozenset(
    {"nvidia", "tesla", "geforce", "quadro", "amd", "instinct", "gpu", "generation"}
)
_VARIANTS: Final = frozenset(
    {"ti", "super", "ada", "d", "laptop", "max", "q", "mobile", "xt", "xtx"}
)
_MEMORY_NEAR: Final = (0.85, 1.1)  # what a driver shows over what a catalogue says
_SHOWN: Final = 5
_THING: Final = (
    "provider", "instance", "region", "zone", "accelerator", "accelerators",
    "accelerator_memory_bytes", "spot", "covers", "name",
)  # fmt: skip
_thing: Final = operator.attrgetter(*_THING)
terms_of: Final = operator.attrgetter(
    "per_hour", "currency", "billing_step_s", "billing_min_s", "fee_per_machine", "covers"
)
thing_of: Final = operator.attrgetter(*_THING, "date", "read_on")
"""What a price is of and when: two of one thing on one day are one too many."""
listed_of: Final = operator.attrgetter(
    "instance", "region", "zone", "accelerator", "accelerators", "accelerator_memory_bytes", "spot"
)
"""The same of a catalogue, whose lines share the rest: half the time for 400,000 prices."""


class Asked(NamedTuple):
    """What is known of the machine whose price is wanted; None: not known, or not asked."""

    provider: str | None = None
    region: str | None = None  # or a zone
    instance: str | None = None
    accelerator: str | None = None
    accelerators: float | None = None
    accelerator_memory_bytes: float | None = None
    spot: bool = False
    at: datetime.date | None = None


class Book:
    """Prices, machines of one's own and exchange rates, with what was wrong in their files."""

    def __init__(
        self,
        prices: Sequence[Price] = (),
        *,
        problems: Sequence[Problem] = (),
        owned: Sequence[Owned] = (),
        rates: Sequence[Rate] = (),
        files: Sequence[str] = (),
        form: str = "timetrial",
    ) -> None:
        """Keep what was read; `form` names the format of the files."""
        self.prices = prices
        self.problems = problems
        self.owned = owned
        self.rates = rates
        self.files = files
        self.form = form

    def find(
        self,
        *,
        provider: str | None = None,
        region: str | None = None,
        instance: str | None = None,
        accelerator: str | None = None,
        accelerators: float | None = None,
        accelerator_memory_bytes: float | None = None,
        spot: bool = False,
        at: datetime.date | None = None,
    ) -> Price | None:
        """Return the latest price, of `at` or before, of what is asked; None where there is none.

        What is left out is not asked: prices of every region fit where none is named. A price
        without a region holds in all of them, and gives way to one of the region itself.

        Raises:
            AmbiguousPriceError: Several prices fit that differ.
        """
        asked = Asked(
            provider,
            region,
            instance,
            accelerator,
            accelerators,
            accelerator_memory_bytes,
            spot,
            at,
        )
        near = self._by_instance.get(_folded(instance), []) if instance else self.prices
        return choose((price for price in near if _fits(price, asked)), asked)

    def named(
        self, name: str, *, spot: bool = False, at: datetime.date | None = None
    ) -> Price | Owned | None:
        """Return what --as NAME means: a price's own name, a machine of one's own, or where it is.

        A place is INSTANCE, PROVIDER/INSTANCE or PROVIDER/REGION/INSTANCE; an accelerator's name
        may stand for the instance. None where there is such a price, but none as old as `at`.

        Raises:
            UnknownNameError: Nothing is called so.
            AmbiguousPriceError: Several prices fit that differ.
        """
        for owned in self.owned:
            if owned.name == name:
                return owned
        own = [price for price in self.prices if price.name == name]
        provider, region, last = _parts(name)
        fitting = own or [
            price
            for price in self.prices
            if _folded(last) in (_folded(price.instance), _folded(price.accelerator))
            and (provider is None or canonical(provider) == canonical(price.provider))
            and (region is None or _in_region(price, region))
        ]
        if not fitting:
            raise UnknownNameError("price", name, self._names())
        asked = Asked(spot=spot, at=at)
        return choose((price for price in fitting if price.spot == spot), asked)

    def of(self, asked: Asked) -> list[Price]:
        """Return the prices of a machine of which no more than this is known.

        Unlike `find`, what is not known does not fit: a price that states a region, an instance or
        an accelerator is of a machine that is known to have it. An instance that agrees answers for
        its accelerators. Prices of accelerators alone are of no machine.
        """
        return [price for price in self.prices if _is_of(price, asked)]

    def has_instance(self, name: str) -> bool:
        """Return whether there is a price of an instance of that name."""
        return _folded(name) in self._by_instance

    def _names(self) -> list[str]:
        """Return names that --as takes: all of a short book, else those that somebody gave."""
        given = {*(owned.name for owned in self.owned), *(p.name for p in self.prices if p.name)}
        if len(self.prices) <= 100:
            given |= {
                f"{price.provider}/{price.instance or price.accelerator}"
                for price in self.prices
                if price.instance or price.accelerator
            }
        return sorted(given)

    @functools.cached_property
    def _by_instance(self) -> dict[str | None, list[Price]]:
        found: dict[str | None, list[Price]] = {}
        for price in self.prices:
            found.setdefault(_folded(price.instance), []).append(price)
        return found


def joined(books: Sequence[Book]) -> Book:
    """Return one book of several."""
    return Book(
        [price for book in books for price in book.prices],
        problems=[problem for book in books for problem in book.problems],
        owned=[owned for book in books for owned in book.owned],
        rates=[rate for book in books for rate in book.rates],
        files=[file for book in books for file in book.files],
        form=", ".join(dict.fromkeys(book.form for book in books)),
    )


def choose(fitting: Iterable[Price], asked: Asked) -> Price | None:
    """Return the latest of the prices that fit, of `asked.at` or before.

    Where they differ in place alone and cost the same, the answer leaves the place out.

    Raises:
        AmbiguousPriceError: They differ.
    """
    known = [price for price in fitting if asked.at is None or date_of(price) <= asked.at]
    latest: dict[tuple[object, ...], list[Price]] = {}
    for price in known:
        kept = latest.setdefault(_thing(price), [])
        if kept and date_of(kept[0]) < date_of(price):
            kept.clear()
        if not kept or date_of(kept[0]) == date_of(price):
            kept.append(price)
    prices = [price for kept in latest.values() for price in kept]
    if asked.accelerator is not None and len(prices) > 1:  # A100-80GB before A100
        most = max(len(_tokens(price.accelerator or "")) for price in prices)
        prices = [price for price in prices if len(_tokens(price.accelerator or "")) == most]
    if asked.region is not None and any(price.region for price in prices):
        prices = [price for price in prices if price.region]
    if any(price.instance or price.accelerator for price in prices):  # else of any machine there
        prices = [price for price in prices if price.instance or price.accelerator]
    if not prices:
        return None
    first = prices[0]
    if any(terms_of(price) != terms_of(first) for price in prices):
        raise AmbiguousPriceError(_ambiguity(prices))
    shared = {
        field: getattr(first, field)
        if all(getattr(price, field) == getattr(first, field) for price in prices)
        else None
        for field in ("region", "zone", "instance", "accelerator", "accelerators")
    }
    return msgspec.structs.replace(first, **shared)


def canonical(provider: str) -> str:
    """Return one spelling of a provider that has several."""
    folded = provider.strip().casefold()
    return ALIASES.get(folded, folded)


def same_accelerator(listed: str, seen: str) -> bool:
    """Return whether a catalogue's name of an accelerator fits what a driver calls it.

    "V100" is "Tesla V100-SXM2-16GB"; "RTX 3090" is not "NVIDIA GeForce RTX 3090 Ti".
    """
    if _folded(listed) == _folded(seen):
        return True
    short, whole = _tokens(listed), _tokens(seen)
    if not short or not whole:
        return False
    if "".join(short) == "".join(whole):
        return True
    further = set(whole) - set(short)
    return set(short) <= set(whole) and not further & _VARIANTS


def _fits(price: Price, asked: Asked) -> bool:
    """Return whether the price is one of what is asked."""
    if price.spot != asked.spot:
        return False
    if asked.provider is not None and canonical(price.provider) != canonical(asked.provider):
        return False
    if asked.region is not None and not _in_region(price, asked.region):
        return False
    if asked.accelerator is None:
        return asked.instance is not None or price.covers != "accelerators"
    if price.accelerator is None or not same_accelerator(price.accelerator, asked.accelerator):
        return False
    if asked.accelerators is not None and (price.accelerators or 1) != asked.accelerators:
        return False
    listed, seen = price.accelerator_memory_bytes, asked.accelerator_memory_bytes
    low, high = _MEMORY_NEAR
    return listed is None or seen is None or low <= seen / listed <= high


def _is_of(price: Price, asked: Asked) -> bool:
    """Return whether all that the price states is known of the machine, and agrees."""
    if price.spot != asked.spot or price.covers == "accelerators" or asked.provider is None:
        return False
    if canonical(price.provider) != canonical(asked.provider):
        return False
    if price.region is not None and (asked.region is None or not _in_region(price, asked.region)):
        return False
    if price.instance is not None and asked.instance is not None:
        return _folded(price.instance) == _folded(asked.instance)
    if price.accelerator is not None:
        return asked.accelerator is not None and _fits(price, asked)
    return price.instance is None


def _in_region(price: Price, region: str) -> bool:
    """Return whether the price holds in a region or zone."""
    asked = _folded(region)
    if price.zone is not None and asked == _folded(price.zone):
        return True
    if price.region is None:
        return True
    own = _folded(price.region)
    of_zone = asked is not None and price.zone is None and asked.startswith(f"{own}-")
    return asked == own or of_zone


def _ambiguity(prices: Sequence[Price]) -> str:
    def place(price: Price) -> str:
        amount = f"{price.per_hour:g} {price.currency}/h"
        where = f" (line {price.line})" if price.line is not None else ""
        return f"{words_of(price)} {amount}{where}"

    shown = "; ".join(place(price) for price in prices[:_SHOWN])
    more = f"; {len(prices) - _SHOWN} more" if len(prices) > _SHOWN else ""
    return (
        f"{len(prices)} prices fit that differ: {shown}{more}. Name one of them: --as NAME, "
        "PROVIDER/INSTANCE or PROVIDER/REGION/INSTANCE."
    )


def _parts(name: str) -> tuple[str | None, str | None, str]:
    words = name.split("/")
    if len(words) == 2:
        return words[0], None, words[1]
    if len(words) == 3:
        return words[0], words[1], words[2]
    return None, None, name


def _folded(text: str | None) -> str | None:
    return None if text is None else text.strip().casefold()


@functools.lru_cache(maxsize=4096)
def _tokens(name: str) -> tuple[str, ...]:
    words = re.findall(r"[a-z0-9]+", name.casefold())
    return tuple(word for word in words if word not in _VENDORS)
