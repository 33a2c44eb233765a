"""The page in a real browser: silent, accessible, and as wide as its window."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api")
axe_api = pytest.importorskip("axe_playwright_python.sync_playwright")

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
from example_findings import empty, findings, hostile  # noqa: E402
from example_scaling import hostile_scaled, scaled  # noqa: E402

from timetrial.report import render_html  # noqa: E402

_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
_PAGES = {
    "full": findings,
    "hostile": hostile,
    "empty": empty,
    "workers": scaled,
    "hostile workers": hostile_scaled,
}
_EACH = pytest.mark.parametrize("name", list(_PAGES))


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs chromium: sudo apt-get install chromium (or scripts/install-system)")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def shown(browser, addresses):  # type: ignore[no-untyped-def]
    """A page that is opened once, by its name, made as wide and as light as asked for."""
    pages = {}

    def show(name, width, scheme="light"):  # type: ignore[no-untyped-def]
        if name not in pages:
            pages[name] = _open(browser, addresses[name], width)
        pages[name].set_viewport_size({"width": width, "height": 900})
        pages[name].emulate_media(color_scheme=scheme)
        return pages[name]

    yield show
    for page in pages.values():
        page.context.close()


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pages")
    for name, make in _PAGES.items():
        (folder / f"{name}.html").write_text(render_html(make()), encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in _PAGES}


def _open(browser, address: str, width: int = 1280, **options):  # type: ignore[no-untyped-def]
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.seen = []
    page.on("request", lambda request: page.seen.append(request.url))
    page.on("pageerror", lambda error: page.seen.append(str(error)))
    page.on("console", lambda message: page.seen.append(f"{message.type}: {message.text}"))
    page.goto(address)
    return page


@_EACH
def test_the_page_asks_for_nothing_but_itself_and_is_silent(browser, addresses, name) -> None:  # type: ignore[no-untyped-def]
    page = _open(browser, addresses[name])
    page.wait_for_load_state("networkidle")
    assert page.seen == [addresses[name]]
    page.context.close()


@_EACH
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_violation(shown, name, scheme, width) -> None:  # type: ignore[no-untyped-def]
    found = axe_api.Axe().run(shown(name, width, scheme))
    assert found.violations_count == 0, found.generate_report()


@_EACH
@pytest.mark.parametrize("width", [1280, 768, 390, 320])
def test_the_page_never_scrolls_sideways(shown, name, width) -> None:  # type: ignore[no-untyped-def]
    page = shown(name, width)
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
@pytest.mark.parametrize(("width", "which"), [(1280, "wide"), (390, "narrow")])
def test_charts_and_tables_are_there_to_see(browser, addresses, width, which, script) -> None:  # type: ignore[no-untyped-def]
    page = _open(browser, addresses["full"], width, java_script_enabled=script)
    charts = page.locator('svg[role="img"]:visible')
    assert charts.count() == 4
    for place in range(4):
        assert charts.nth(place).get_attribute("class") == which
        box = charts.nth(place).bounding_box()
        assert box is not None
        assert box["width"] > 0.8 * min(width, 900) - 40
        assert box["height"] > 80
    tables = page.locator("table")
    assert tables.count() == 9
    assert all(tables.nth(place).is_visible() for place in range(8))
    page.context.close()


@pytest.mark.parametrize(("width", "shown"), [(1280, "wide"), (390, "narrow")])
def test_charts_of_workers_stand_in_pairs_where_there_is_room(  # type: ignore[no-untyped-def]
    browser, addresses, width, shown
) -> None:
    page = _open(browser, addresses["workers"], width)
    charts = page.locator('.pair svg[role="img"]:visible')
    assert charts.count() == 8
    boxes = [charts.nth(place).bounding_box() for place in range(2)]
    assert all(charts.nth(place).get_attribute("class") == shown for place in range(8))
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert (boxes[0]["y"] == boxes[1]["y"]) == (shown == "wide")
    page.context.close()


def test_letters_in_charts_keep_their_size_on_a_phone(browser, addresses) -> None:  # type: ignore[no-untyped-def]
    page = _open(browser, addresses["full"], 390)
    heights = page.locator("svg.narrow text.tick").evaluate_all(
        "texts => texts.map(text => text.getBoundingClientRect().height)"
    )
    assert min(heights) >= 11
    page.context.close()


def test_a_wide_table_scrolls_in_a_region_the_keyboard_reaches(browser, addresses) -> None:  # type: ignore[no-untyped-def]
    page = _open(browser, addresses["full"], 390)
    region = page.get_by_role("region", name="Time to 89 % validation accuracy")
    assert region.evaluate("div => div.scrollWidth > div.clientWidth")
    region.focus()
    assert region.evaluate("div => div === document.activeElement")
    page.context.close()


def test_the_list_of_runs_sorts_by_a_heading(browser, addresses) -> None:  # type: ignore[no-untyped-def]
    page = _open(browser, addresses["full"])
    table = page.locator("table.sortable")
    table.get_by_role("button", name="Wall").click()
    walls = [float(text.split()[0]) for text in table.locator("td:nth-child(6)").all_inner_texts()]
    assert walls == sorted(walls)
    assert walls[0] == 12.0
    page.context.close()


def test_the_command_can_be_copied(browser, addresses) -> None:  # type: ignore[no-untyped-def]
    page = _open(browser, addresses["full"], permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the command").click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == findings().command
    page.context.close()
