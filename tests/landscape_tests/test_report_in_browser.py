"""The report in a real browser, headless Chromium with software WebGL: drawn, turned, sorted, switched, accessible.

Skipped with a reason where there is no Chromium; nothing is downloaded.
"""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from landscape.grid import Grid
from landscape.report import write_report
from landscape.report.live import HOST, make_server, store_source
from landscape.store import Store
from tests.landscape_tests.drawn_stores import SQUARE, add_numbers, add_scores, add_surface, bowl
from tests.landscape_tests.reports import seeds_of_two_methods

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SOFTWARE = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
HARMLESS = ("willReadFrequently",)  # advice to plotly's authors
VALUES = "rows => rows.map(row => Number(row.cells[2].dataset.value))"  # of the table of eigenvalues
EVIL = "<img src=x onerror=document.evil=1>"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=SOFTWARE)
        yield running
        running.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints, one of them half finished, one with a name that would be markup."""
    folder = tmp_path_factory.mktemp("report")
    with Store.write(folder / "s.h5") as store:
        add_surface(store, EVIL, bowl(6.0))
        add_surface(store, "flat", bowl(2.0, 0.6), share=0.5)
        for name in (EVIL, "flat"):
            add_numbers(store, name)
        add_scores(store, (EVIL, "flat"))
    return write_report(folder / "s.h5")


@pytest.fixture(scope="module")
def page(browser: Any, report: Path) -> Any:
    return opened(browser, report)


def opened(browser: Any, report: Path, **options: Any) -> Any:
    page = browser.new_page(**options)
    page.said = []
    page.on("console", lambda message: page.said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.goto(report.as_uri())
    page.wait_for_selector("html[data-figures=drawn]", state="attached", timeout=120_000)
    return page


def test_every_figure_is_drawn_and_nothing_complains(page: Any) -> None:
    assert page.locator(".plot").count() == page.locator(".plot .main-svg:first-child").count() > 6
    assert [text for text in page.said if not any(word in text for word in HARMLESS)] == []


def test_captions_are_there_to_be_read(page: Any) -> None:
    shown = page.locator(".follows", has_text="directions: filter-normalised")
    assert shown.count() == 1
    assert shown.first.is_visible()


def test_a_name_that_is_markup_is_text(page: Any) -> None:
    assert page.evaluate("document.evil") is None
    assert page.locator("main img").count() == 0
    assert page.locator("figcaption", has_text=EVIL).count() == 2


def test_turning_one_relief_turns_the_others(page: Any) -> None:
    page.evaluate(
        "Plotly.relayout(document.querySelector('[data-kind=relief] .plot'), {'scene.camera.eye': {x: 2, y: 0, z: 1}})"
    )
    page.mouse.move(0, 0)
    relief = page.locator("[data-kind=relief] .plot")
    relief.first.scroll_into_view_if_needed()
    box = relief.first.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 10, steps=5)
    page.mouse.up()
    page.wait_for_function(
        """() => {
            const eyes = [...document.querySelectorAll("[data-kind=relief] .plot")].map(p => p.layout.scene.camera.eye);
            const start = {x: 2, y: 0, z: 1};
            return Math.abs(eyes[0].y - start.y) > .05 && eyes.every(e => Math.abs(e.y - eyes[0].y) < 1e-6);
        }""",
        timeout=60_000,
    )


def test_a_table_is_sorted_both_ways_by_numbers(page: Any) -> None:
    table = page.locator("table", has=page.locator("caption", has_text="Eigenvalues"))
    head = table.locator("th", has_text="value").nth(1)
    for wanted in (False, True):
        head.locator("button").click()
        values = table.locator("tbody tr").evaluate_all(VALUES)
        assert values == sorted(values, reverse=wanted)
    assert head.get_attribute("aria-sort") == "descending"


def test_a_checkpoint_is_switched_off_and_on(page: Any) -> None:
    box = page.get_by_label("flat", exact=True)
    cards = page.locator("[data-checkpoint=flat]")
    box.uncheck()
    assert not any(cards.nth(k).is_visible() for k in range(cards.count()))
    box.check()
    assert all(cards.nth(k).is_visible() for k in range(cards.count()))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_passes_the_accessibility_check(page: Any, theme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    if page.evaluate("document.documentElement.dataset.theme") != theme:
        page.locator("#theme").click()
    page.wait_for_function(f"document.documentElement.dataset.theme === '{theme}'")
    found = Axe().run(page).response["violations"]
    assert [(violation["id"], violation["nodes"][0]["html"][:80]) for violation in found] == []


def test_a_phone_needs_no_sideways_scrolling(page: Any) -> None:
    before = page.viewport_size
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("document.documentElement.scrollWidth <= window.innerWidth")  # figures follow their cards
    page.set_viewport_size(before)


def test_it_prints_every_section(page: Any, tmp_path: Path) -> None:
    content = page.pdf(prefer_css_page_size=True)
    assert content.startswith(b"%PDF")
    assert len(content) > 20_000


def test_settings_and_fingerprints_are_printed_unfolded_and_folded_again(page: Any) -> None:
    folded = "document.querySelectorAll('details:not([open])').length"
    parts = page.evaluate(folded)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert (parts > 0, page.evaluate(folded)) == (True, 0)
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(folded) == parts


def test_a_live_page_sharpens_in_place(browser: Any, tmp_path: Path) -> None:
    """A surface a quarter measured, turned, then finished: it gets its points and stays turned, tables stay sorted."""
    path = tmp_path / "s.h5"
    with Store.write(path) as store:
        add_surface(store, "growing", bowl(2.0), share=0.25)
        add_numbers(store, "growing")
    with make_server(store_source(path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://{HOST}:{server.server_port}/")
        page.wait_for_selector("html[data-figures=drawn]", state="attached", timeout=120_000)
        assert page.get_by_text("110 of 441 points measured").count() > 0
        relief = "document.querySelector('[data-kind=relief] .plot')"
        page.evaluate(f"Plotly.relayout({relief}, {{'scene.camera.eye': {{x: 2, y: 0.5, z: 1}}}})")
        table = page.locator("table", has=page.locator("caption", has_text="Eigenvalues"))
        head = table.locator("th", has_text="value").nth(1)
        written = table.locator("tbody tr").evaluate_all(VALUES)
        for _ in range(1 if written == sorted(written, reverse=True) else 2):  # an order other than it comes in
            head.locator("button").click()
        ordered = table.locator("tbody tr").evaluate_all(VALUES)
        assert ordered != written
        with Store.write(path) as store:
            held = store.surface("growing-surface")
            rest = [index for index in range(held.status.size) if held.status.flat[index] == 0]
            points = Grid(SQUARE, SQUARE).coordinates[rest].T
            store.write_points("growing-surface", rest, {"loss": bowl(2.0)(*points)})
        page.wait_for_function("!document.body.textContent.includes('points measured')", timeout=60_000)
        assert page.evaluate(f"{relief}.layout.scene.camera.eye") == {"x": 2, "y": 0.5, "z": 1}
        assert table.locator("tbody tr").evaluate_all(VALUES) == ordered
        page.close()
        server.shutdown()


@pytest.mark.parametrize(("width", "told"), [(1280, True), (390, True), (280, False)])
def test_numbers_beside_rows_stand_whole_or_not_at_all(browser: Any, tmp_path: Path, width: int, told: bool) -> None:
    values = {"sam": {"plain": [1.0, 1.1, 1.2], "sam": [0.5, 0.58, 0.72]}}
    report = write_report(seeds_of_two_methods(tmp_path / "s.h5", values))
    page = opened(browser, report, viewport={"width": width, "height": 900})
    card = page.locator('.card[data-kind="change"] .plot').first
    edge = card.bounding_box()
    notes = card.locator(".annotation-text")
    assert (notes.count() > 0) == told
    for note in notes.all():
        box = note.bounding_box()
        assert box["x"] + box["width"] <= edge["x"] + edge["width"]
    page.close()
