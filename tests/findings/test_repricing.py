"""Real runs priced anew: which price is whose, what they cost by it, what stays unknown."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable

import msgspec
import pytest

from timetrial import findings, prices, store
from timetrial.errors import UsageError
from timetrial.launch.local import LocalLauncher
from timetrial.launch.supervise import supervise
from timetrial.machine import gather
from timetrial.machine.records import Accelerator, CloudInstance
from timetrial.rows import Row
from timetrial.rundir import pretty_json, write_atomically
from timetrial.spec import Target
from timetrial.stats import clocks
from timetrial.store import RunRecord
from timetrial.testing import fakes, runs

DAY = datetime.date(2026, 11, 22)
TARGET = Target(metric="accuracy", threshold=0.5, direction="at_least", split="validation")
WANTED = findings.Wanted(DAY)
V100 = Accelerator(
    name="Tesla V100-SXM2-16GB", memory_bytes=2**34, power_limit_w=None, driver=None, cuda=None
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    """Three runs of one system: two reach the target, one fails."""
    folder = tmp_path_factory.mktemp("priced")
    fakes.write_plugin(folder / "plugin")
    here = gather(["test"], folder, cloud_timeout_s=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "plugin"), prepend=os.pathsep)
        records = []
        for seed, build in ((1, "build"), (2, "build"), (3, "build_failing")):
            plan = runs.fake_plan(seed, implementation=f"timetrial.testing.fakes:{build}")
            run, named = runs.place(folder, msgspec.structs.replace(plan, target=TARGET))
            supervise(run, named, LocalLauncher(), lambda events: None)
            host = store.read_run(run.path).places[0]
            write_atomically(run.machine(host), pretty_json(here))
            records.append(store.read_run(run.path))
    return records


def on(
    record: RunRecord,
    *,
    cloud: CloudInstance | None = None,
    accelerators: tuple[Accelerator, ...] = (),
    **plan: object,
) -> RunRecord:
    """The run as if it had been made elsewhere."""
    moved = RunRecord(
        record.run,
        msgspec.structs.replace(record.plan, **plan),
        record.done,
        record.launcher,
        record.worker,
    )
    assert record.machine is not None
    here = msgspec.structs.replace(record.machine, cloud=cloud, accelerators=accelerators)
    moved.__dict__["machine"] = here  # the cached property's value
    return moved


def aws(*, spot: bool | None = False, region: str | None = "us-east-1") -> CloudInstance:
    return CloudInstance(provider="aws", instance_type="p3.2xlarge", region=region, spot=spot)


def entry(per_hour: float = 3.6, **more: object) -> prices.Price:
    fields = {"provider": "aws", "currency": "USD", "source": "a page", "read_on": DAY, **more}
    return prices.Price(per_hour=per_hour, **fields)


P3 = entry(instance="p3.2xlarge", region="us-east-1", accelerator="V100")
P3_SPOT = entry(1.2, instance="p3.2xlarge", region="us-east-1", accelerator="V100", spot=True)


def by_measure(rows: list[Row]) -> dict[tuple[str, str | None], Row]:
    return {(row.measure, row.clock): row for row in rows}


def seconds(record: RunRecord, clock: str) -> float:
    found = clocks.elapsed_s(record.stretches, clocks.find_clock(clock))
    assert found is not None
    return found


def test_the_cost_is_billed_time_and_train_time_times_the_price(made: list[RunRecord]) -> None:
    ran = [on(record, cloud=aws()) for record in made]

    rows = by_measure(findings.reprice(ran, prices.Book([P3]), WANTED).rows)

    for clock in ("billed", "mlperf", "train-only"):
        row = rows["cost_per_run", clock]
        expected = sum(seconds(record, clock) for record in ran[:2]) / 2 * 3.6 / 3600
        assert row.value == pytest.approx(expected)
        assert (row.n, row.unit) == (2, "USD")
        assert "1 of 3 runs did not do all of the work: not in its figures" in row.notes
        assert row.facts["price_source"] == "a page"
        assert row.facts["price_date"] == "2026-11-22"
    spent = rows["cost_of_all_runs", "billed"]
    assert spent.value == pytest.approx(sum(seconds(r, "billed") for r in ran) * 3.6 / 3600)
    assert spent.n == 3, "a failed run costs too"
    assert ("fees_per_run", "billed") not in rows
    assert "fees are not stated, and not in it" in rows["cost_per_run", "billed"].notes


def test_steps_minimum_and_fees_are_in_the_billed_cost_alone(made: list[RunRecord]) -> None:
    ran = [on(record, cloud=aws()) for record in made[:2]]
    price = msgspec.structs.replace(
        P3, billing_step_s=3600.0, fee_per_machine=5.0, fee_for="storage"
    )

    rows = by_measure(findings.reprice(ran, prices.Book([price]), WANTED).rows)

    assert rows["cost_per_run", "billed"].value == pytest.approx(3.6 + 5.0)
    assert rows["fees_per_run", "billed"].value == pytest.approx(5.0)
    train = sum(seconds(record, "train-only") for record in ran) / 2
    assert rows["cost_per_run", "train-only"].value == pytest.approx(train * 3.6 / 3600)
    assert "with 5 USD for each machine of each run (storage)" in (
        rows["cost_per_run", "billed"].notes
    )


NOT_FOUND: list[tuple[str, Callable[[RunRecord], RunRecord], list[prices.Price], str]] = [
    ("nobody says where it ran", lambda r: on(r), [P3], "nobody says where it ran"),
    ("another instance", lambda r: on(r, cloud=aws()), [entry(instance="p2.xlarge")], "no price"),
    ("another region", lambda r: on(r, cloud=aws(region="eu-west-1")), [P3], "no price"),
    ("a region that is not known", lambda r: on(r, cloud=aws(region=None)), [P3], "no price"),
    ("an instance that is not known", lambda r: on(r, provider="aws", region="us-east-1"), [P3],
     "no price"),
    ("only a spot price", lambda r: on(r, cloud=aws()), [P3_SPOT], "no price"),
    ("only an on-demand price", lambda r: on(r, cloud=aws(spot=True)), [P3], "no spot price"),
    ("a price that is too new", lambda r: on(r, cloud=aws()),
     [msgspec.structs.replace(P3, read_on=datetime.date(2026, 11, 23))], "no price"),
    ("several that differ", lambda r: on(r, cloud=aws()),
     [P3, msgspec.structs.replace(P3, per_hour=4.0)], "2 prices fit that differ"),
    ("a machine priced without its accelerator",
     lambda r: on(r, cloud=aws(), accelerators=(V100,)),
     [entry(instance="p3.2xlarge", covers="host")], "no price"),
    ("more accelerators than the price is of",
     lambda r: on(r, provider="aws", region="us-east-1", accelerators=(V100, V100)), [P3],
     "no price"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("moved", "entries", "words"), [case[1:] for case in NOT_FOUND], ids=[c[0] for c in NOT_FOUND]
)
def test_what_has_no_price_is_unknown_and_says_why(
    made: list[RunRecord],
    moved: Callable[[RunRecord], RunRecord],
    entries: list[prices.Price],
    words: str,
) -> None:
    found = findings.reprice([moved(made[0])], prices.Book(entries), WANTED)

    assert len(found.rows) == 3
    for row in found.rows:
        assert (row.measure, row.value, row.low, row.high) == ("cost_per_run", None, None, None)
        assert any(note.startswith("price unknown: ") and words in note for note in row.notes)


FOUND: list[tuple[str, Callable[[RunRecord], RunRecord], list[prices.Price], float]] = [
    ("by what its cloud says", lambda r: on(r, cloud=aws()), [P3, P3_SPOT], 3.6),
    ("as spot", lambda r: on(r, cloud=aws(spot=True)), [P3, P3_SPOT], 1.2),
    ("by provider and GPU",
     lambda r: on(r, provider="AWS", region="us-east-1", accelerators=(V100,)), [P3], 3.6),
    ("by provider and image",
     lambda r: on(r, provider="aws", region="us-east-1", image="p3.2xlarge"), [P3], 3.6),
    ("by its provider alone", lambda r: on(r, provider="cellar"),
     [entry(0.5, provider="cellar")], 0.5),
    ("by the closer of two", lambda r: on(r, cloud=aws()), [entry(9.0), P3], 3.6),
    ("the latest", lambda r: on(r, cloud=aws()),
     [msgspec.structs.replace(P3, per_hour=9.0, read_on=datetime.date(2026, 1, 1)), P3], 3.6),
    ("without accelerators, where it has none", lambda r: on(r, cloud=aws()),
     [entry(0.2, instance="p3.2xlarge", covers="host")], 0.2),
]  # fmt: skip


@pytest.mark.parametrize(
    ("moved", "entries", "per_hour"), [case[1:] for case in FOUND], ids=[case[0] for case in FOUND]
)
def test_a_run_finds_its_price(
    made: list[RunRecord],
    moved: Callable[[RunRecord], RunRecord],
    entries: list[prices.Price],
    per_hour: float,
) -> None:
    found = findings.reprice([moved(made[0])], prices.Book(entries), WANTED)

    assert {row.facts["price"] for row in found.rows} == {f"{per_hour:g}"}


def test_a_run_that_does_not_say_whether_it_was_spot_says_so(made: list[RunRecord]) -> None:
    ran = [on(made[0], cloud=aws(spot=None))]

    [row, *_] = findings.reprice(ran, prices.Book([P3, P3_SPOT]), WANTED).rows
    [asked, *_] = findings.reprice(
        ran, prices.Book([P3, P3_SPOT]), findings.Wanted(DAY, spot=True)
    ).rows

    assert row.facts["price"] == "3.6"
    assert "whether it was spot is not known: priced on demand" in row.notes
    assert asked.facts["price"] == "1.2"
    assert not any("spot is not known" in note for note in asked.notes)


def test_spot_and_on_demand_runs_of_one_system_are_apart(made: list[RunRecord]) -> None:
    ran = [on(made[0], cloud=aws()), on(made[1], cloud=aws(spot=True))]

    found = findings.reprice(ran, prices.Book([P3, P3_SPOT]), WANTED)

    assert [line.n for line in found.table.lines] == [1, 1]
    assert {row.facts["spot"] for row in found.rows} == {"true", "false"}


def test_an_old_price_is_marked(made: list[RunRecord]) -> None:
    ran = [on(made[0], cloud=aws())]
    later = findings.Wanted(DAY + datetime.timedelta(days=91))

    [row, *_] = findings.reprice(ran, prices.Book([P3]), later).rows

    assert "old price: of 2026-11-22, 91 days before 2027-02-21" in row.notes
    assert row.facts["priced_at"] == "2027-02-21"


def test_runs_made_with_and_without_a_price_are_one_system_when_priced_anew(
    made: list[RunRecord],
) -> None:
    ran = [on(made[0], cloud=aws()), on(made[1], cloud=aws(), price_usd_per_h=9.0)]

    found = findings.reprice(ran, prices.Book([P3]), WANTED)

    assert [line.n for line in found.table.lines] == [2]
    assert {row.facts["price"] for row in found.rows} == {"3.6"}


def test_a_machine_of_ones_own_is_priced_by_its_use(made: list[RunRecord]) -> None:
    laptop = prices.Owned(
        name="laptop", purchase=2400.0, currency="EUR", life_years=4.0, hours_per_month=50.0,
        power_w=200.0, tariff_per_kwh=0.25, source="a receipt", read_on=DAY,
    )  # fmt: skip
    unmeasured = msgspec.structs.replace(laptop, name="other", power_w=None)
    book = prices.Book(owned=[laptop, unmeasured])

    [row, *_] = findings.reprice([on(made[0], provider="laptop")], book, WANTED).rows
    [more, *_] = findings.reprice(
        [made[0]], book, findings.Wanted(DAY, name="laptop", hours_per_month=100)
    ).rows
    [unknown, *_] = findings.reprice([on(made[0], provider="other")], book, WANTED).rows

    assert (row.facts["price"], row.unit) == ("1.05", "EUR")
    assert more.facts["price"] == "0.55"
    assert unknown.value is None
    assert "price unknown: power_w of other not stated" in unknown.notes


def test_amounts_in_two_currencies_are_said_to_be_incomparable(made: list[RunRecord]) -> None:
    rate = prices.Rate(from_="EUR", to="USD", rate=1.25, source="a bank", read_on=DAY)
    euros = entry(1.0, provider="cellar", currency="EUR")
    ran = [on(made[0], cloud=aws()), on(made[1], provider="cellar")]

    apart = findings.reprice(ran, prices.Book([P3, euros]), WANTED)
    joined = findings.reprice(
        ran, prices.Book([P3, euros], rates=[rate]), findings.Wanted(DAY, currency="USD")
    )

    assert {row.unit for row in apart.rows} == {"USD", "EUR"}
    assert any("are not compared" in note for note in apart.table.notes)
    assert {row.unit for row in joined.rows} == {"USD"}
    assert {row.facts["price"] for row in joined.rows} == {"3.6", "1.25"}
    assert not joined.table.notes
    with pytest.raises(UsageError, match="none is invented"):
        findings.reprice(ran, prices.Book([P3, euros]), findings.Wanted(DAY, currency="USD"))


def test_several_machines_are_billed_each(made: list[RunRecord]) -> None:
    ran = on(made[0], cloud=aws())
    ran.__dict__["places"] = {0: "a", 1: "b"}
    price = msgspec.structs.replace(P3, billing_step_s=3600.0, fee_per_machine=1.0)

    rows = by_measure(findings.reprice([ran], prices.Book([price]), WANTED).rows)

    assert rows["cost_per_run", "billed"].value == pytest.approx(2 * (3.6 + 1.0))
