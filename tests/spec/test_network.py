"""What `--network` accepts, and the one way in which it is written down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial.errors import UnknownNameError, UsageError
from timetrial.plan import Request, check_request, find_task, network_of
from timetrial.spec.network import Link, Network, check_network, parse_network


def test_rate_delay_and_loss_are_read_in_bits_seconds_and_fractions() -> None:
    network = parse_network("rate=100mbit,delay=5ms,loss=0.1%")

    assert network == Network(rate_bit_per_s=1e8, delay_s=0.005, loss=0.001)
    assert network.link(0) == network.link(7) == Link(rate_bit_per_s=1e8, delay_s=0.005, loss=0.001)


def test_what_is_left_out_is_not_emulated() -> None:
    assert parse_network("delay=5ms") == Network(delay_s=0.005)
    assert parse_network("rate=unlimited") == Network()


def test_a_worker_has_what_all_have_and_what_differs_for_it() -> None:
    network = parse_network("rate=1gbit,delay=1ms/1:rate=10mbit/3:rate=unlimited,loss=2%")

    assert network.link(0) == Link(rate_bit_per_s=1e9, delay_s=0.001)
    assert network.link(1) == Link(rate_bit_per_s=1e7, delay_s=0.001)
    assert network.link(3) == Link(delay_s=0.001, loss=0.02)


@pytest.mark.parametrize(
    ("asked", "canonical"),
    [
        ("delay=5ms, rate=0.1gbit", "rate=100mbit,delay=5ms"),
        ("loss=0.001,rate=12500bit", "rate=12.5kbit,loss=0.1%"),
        ("delay=1500ms", "delay=1.5s"),
        ("delay=0.5us,rate=100GBIT", "rate=100gbit,delay=0.5us"),
        ("delay=0", "rate=unlimited"),
        ("rate=10mbit/2:delay=1ms/0:rate=unlimited", "rate=10mbit/0:rate=unlimited/2:delay=1ms"),
        ("rate=10mbit/1:rate=0.01gbit", "rate=10mbit"),
        ("loss=0.0000001%", "loss=0.0000001%"),
    ],
)
def test_equal_networks_have_one_text(asked: str, canonical: str) -> None:
    assert str(parse_network(asked)) == canonical


LINKS = st.builds(
    Link,
    rate_bit_per_s=st.none() | st.integers(10_000, 10**11).map(float),
    delay_s=st.integers(0, 10**7).map(lambda us: us / 1e6),
    loss=st.integers(0, 99_999).map(lambda parts: parts / 1e5),
)


@given(LINKS, st.dictionaries(st.integers(0, 300), LINKS, max_size=3))
def test_the_canonical_text_is_read_back(every: Link, links: dict[int, Link]) -> None:
    network = Network(
        rate_bit_per_s=every.rate_bit_per_s,
        delay_s=every.delay_s,
        loss=every.loss,
        links={rank: link for rank, link in links.items() if link != every},
    )

    assert parse_network(str(network)) == network


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("", "'' is no setting"),
        ("fast", "'fast' is no setting"),
        ("rate=100", "rate=100 is not possible.*units kbit, mbit and gbit"),
        ("rate=100mbps", "rate=100mbps is not possible"),
        ("rate=-1mbit", "rate=-1mbit is not possible"),
        ("rate=1bit", "Allowed: 10kbit to 100gbit"),
        ("rate=nan", "rate=nan is not possible"),
        ("delay=5", "delay=5 is not possible.*units us, ms and s"),
        ("delay=-5ms", "delay=-5ms is not possible"),
        ("delay=1h", "delay=1h is not possible"),
        ("delay=11s", "Allowed: 0 to 10s"),
        ("loss=100%", "Allowed: 0 to below 1"),
        ("loss=-1%", "loss=-1% is not possible"),
        ("rate=1mbit,rate=2mbit", "gives rate twice"),
        ("rate=1mbit/x:rate=2mbit", "'x:rate=2mbit' names no worker"),
        ("rate=1mbit/-1:rate=2mbit", "names no worker"),
        ("rate=1mbit/1:", "'' is no setting"),
        ("rate=1mbit/1:rate=2mbit/1:delay=1ms", "names worker 1 twice"),
    ],
)
def test_what_means_nothing_is_refused(asked: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_network(asked)


def test_an_unknown_key_gives_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'delay'"):
        parse_network("dely=5ms")


def test_a_worker_that_the_run_does_not_have_is_refused() -> None:
    network = parse_network("rate=1mbit/2:rate=2mbit")

    check_network(network, 3)
    with pytest.raises(UsageError, match=r"names worker 2, but the run has 2\. Allowed: 0 to 1"):
        check_network(network, 2)


def test_a_plan_holds_the_canonical_text() -> None:
    request = Request(task="mnist-cnn", workers=2, launcher="shaped", network="delay=5000us")

    assert network_of(request) == "delay=5ms"
    assert network_of(Request(task="mnist-cnn", workers=2, launcher="shaped")) is None


def test_a_network_needs_the_launcher_that_makes_it() -> None:
    task = find_task("mnist-cnn")

    check_request(task, Request(task="mnist-cnn", workers=2, launcher="shaped", network="loss=1%"))
    with pytest.raises(UsageError, match="Add --launcher shaped"):
        check_request(task, Request(task="mnist-cnn", workers=2, network="loss=1%"))
    wrong = Request(task="mnist-cnn", workers=2, launcher="shaped", network="loss=2")
    with pytest.raises(UsageError, match="loss=2 is not possible"):
        check_request(task, wrong)
