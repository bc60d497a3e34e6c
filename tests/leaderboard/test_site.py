"""The site as people use it: driven in headless Chromium, by mouse, by keyboard and on a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: install it (Debian: apt-get install chromium) to drive the leaderboard's pages")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as p:
        opened = p.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, site: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, opened from its folder. Errors on its console, and requests beyond the folder, fail the test."""
    context = browser.new_context(viewport=getattr(request, "param", DESKTOP), color_scheme="light")
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    opened.on("pageerror", lambda e: wrong.append(str(e)))
    opened.on("requestfailed", lambda r: wrong.append(f"failed: {r.url}"))
    folder = site.parent.resolve().as_uri()
    opened.on("request", lambda r: None if r.url.startswith((folder, "data:")) else wrong.append(f"asked for {r.url}"))
    opened.goto(site.resolve().as_uri())
    yield opened
    context.close()
    assert not wrong


def methods(page: Any) -> list[str]:
    return [t.strip() for t in page.locator("#rain100l--y tbody tr th .open").all_inner_texts()]


def sort_by(page: Any, column: str) -> Any:
    head = page.locator("#rain100l--y thead th", has_text=column).first
    head.locator("button").click()
    return head


def test_best_first_and_sorted_both_ways(page: Any) -> None:
    best = ["PReNet (rain100l)", "Median filter", "Rainy input"]
    assert methods(page) == best
    head = sort_by(page, "PSNR")
    assert head.get_attribute("aria-sort") == "descending"
    assert methods(page) == best
    sort_by(page, "PSNR")
    assert head.get_attribute("aria-sort") == "ascending"
    assert methods(page) == best[::-1]
    sort_by(page, "Method")
    assert methods(page) == ["Median filter", "PReNet (rain100l)", "Rainy input"]
    assert head.get_attribute("aria-sort") == "none"


def test_columns_are_sorted_by_keyboard(page: Any) -> None:
    button = page.locator("#rain100l--y thead th button", has_text="Method")
    button.focus()
    page.keyboard.press("Enter")
    assert methods(page)[0] == "Median filter"
    page.keyboard.press("Space")
    assert methods(page)[0] == "Rainy input"


def test_what_is_missing_stays_last(page: Any) -> None:
    for _ in range(2):
        sort_by(page, "Published")
        assert methods(page)[0] == "PReNet (rain100l)"


def test_night_and_day(page: Any) -> None:
    def ground() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    day = ground()
    page.get_by_role("button", name="Switch to the night theme").click()
    assert ground() != day
    page.reload()
    assert ground() != day  # it is remembered
    page.get_by_role("button", name="Switch to the day theme").click()
    assert ground() == day


def test_details_of_a_run_and_every_image(page: Any) -> None:
    page.get_by_role("button", name="Median filter").click()
    dialog = page.locator("dialog[open]")
    assert dialog.locator("h2").inner_text() == "Median filter"
    assert dialog.locator("table.images tbody tr").count() == 6
    gains = dialog.locator("table.images tbody tr td:last-child").all_inner_texts()
    assert all(g.startswith("+") for g in gains)
    assert "a <note> with & signs" in dialog.locator(".facts").text_content()
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    page.get_by_role("button", name="PReNet").click()
    assert page.locator("dialog tr", has_text="seen").count() == 2


def test_the_slider_moves_by_arrow_keys(page: Any) -> None:
    page.get_by_role("button", name="PReNet").click()
    slider = page.get_by_role("slider")
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert slider.input_value() == "60"
    assert page.locator(".stage").evaluate("s => s.style.getPropertyValue('--x')") == "60%"
    page.keyboard.press("Home")
    assert slider.input_value() == "0"
    shown = page.locator(".stage img").evaluate_all("all => all.map(i => i.complete && i.naturalWidth)")
    assert shown == [96, 96]
    page.get_by_label("Left of the line").select_option(label="Target")
    assert page.locator(".stage .tag.left").inner_text() == "Target"


def test_another_image_and_its_error_map(page: Any) -> None:
    page.get_by_role("button", name="PReNet").click()
    page.get_by_role("button", name="set/3", exact=True).click()
    assert page.locator("tr[aria-current]").inner_text().startswith("set/3")
    error = page.locator(".error")
    assert error.is_hidden()
    page.get_by_label("Error map").check()
    assert error.is_visible()
    assert page.locator(".error img").nth(1).evaluate("i => getComputedStyle(i).mixBlendMode") == "difference"


def test_a_run_without_images_says_so(page: Any) -> None:
    page.locator("#rain200l--y .open").click()
    assert "No images here" in page.locator("dialog .viewer").inner_text()


def test_inferred_figures_are_marked(page: Any) -> None:
    table = page.locator("#table7_weatherbench")
    table.locator("summary").click()
    marked = [r.split("\t")[0].strip() for r in table.locator("tbody tr").all_inner_texts() if "†" in r]
    assert sorted(marked) == ["Histoformer", "WGWS-Net"]


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_a_phone_scrolls_tables_and_not_the_page(page: Any) -> None:
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) == 0
    page.get_by_role("button", name="PReNet").click()
    assert page.evaluate(wide) == 0
    dialog = page.locator("dialog[open]")
    assert dialog.evaluate("d => d.scrollWidth - d.clientWidth") <= 0
    assert dialog.bounding_box()["width"] <= PHONE["width"]


def test_tables_can_be_read_without_scripts(browser: Any, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(site.resolve().as_uri())
    assert "PReNet (rain100l)" in opened.locator("#rain100l--y").inner_text()
    context.close()
