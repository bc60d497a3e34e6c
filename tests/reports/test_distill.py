"""Reports: areas that agree with numbers, intervals that are exact, sizes that are said, captions that are plausible."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rainrag.core import stats
from rainrag.reports import distill, html
from rainrag.reports.captions import PLAUSIBLE, plain


@given(st.lists(st.integers(0, 10_000), min_size=3, max_size=3).filter(any))
def test_a_tiers_area_is_its_share(counts: list[int]) -> None:
    bands = distill._bands(counts)
    whole = distill.HIGH**2
    areas = [(bottom**2 - top**2) / whole for top, bottom, _ in bands]
    assert areas == pytest.approx([n / sum(counts) for n in counts], abs=1e-9)
    heights = [y for *_, y in bands]
    assert all(b - a >= distill.LINE - 1e-9 for a, b in pairwise(heights)), "names do not overlap"
    assert heights[-1] <= distill.HIGH + 1e-9


def test_the_drawn_pyramid_has_these_corners() -> None:
    rows = [{"keep": True}] * 3 + [{"keep": False}] * 5
    drawn = distill._pyramid(rows, 1)
    polygons = [[tuple(map(float, p.split(","))) for p in c.split()] for c in re.findall(r'points="([^"]+)"', drawn)]
    areas = [(b - t) * ((x1 - x0) + (y1 - y0)) / 2 for (x0, t), (x1, _), (y1, b), (y0, _) in polygons]
    assert np.divide(areas, sum(areas)) == pytest.approx([1 / 9, 3 / 9, 5 / 9], abs=0.005)
    assert "3 distilled" in drawn


@pytest.mark.parametrize(("hits", "n"), [(8, 8), (0, 8), (1, 1), (30, 30)])
def test_all_or_none_has_the_exact_bound(hits: int, n: int) -> None:
    from scipy.stats import binomtest

    exact = binomtest(hits, n).proportion_ci(0.95, method="exact")
    found = stats.share_interval([1.0] * hits + [0.0] * (n - hits), [str(i) for i in range(n)])
    assert found == pytest.approx((exact.low, exact.high))


def test_eight_images_of_two_scenes_are_two_cases() -> None:
    found = stats.share_interval([1.0] * 8, ["a", "b"] * 4)
    assert found == pytest.approx((0.025**0.5, 1.0))
    mixed = stats.share_interval([1.0, 0.0, 1.0], ["a", "b", "c"])
    assert mixed == stats.interval([1.0, 0.0, 1.0], ["a", "b", "c"])
    assert stats.share_interval([], []) is None


def test_the_report_prints_the_bound() -> None:
    rows = [{"keep": True, "group": str(i), "reason": "vote"} for i in range(8)]
    assert distill.keep_rate(rows)[-1] == "63.1% to 100.0%"


def test_pictures_have_sizes_and_are_not_left_to_scrolling() -> None:
    shown = html.picture(np.zeros((40, 80, 3), np.uint8), "x", 20)
    assert 'width="20" height="10"' in shown
    assert "lazy" not in shown


def test_captions_name_only_what_streets_show() -> None:
    measured = "dense fine streaks of rain slanting, grainy"
    assert (
        plain(f"night photograph of guillotine, street sign, {measured}")
        == f"night photograph (street sign), {measured}"
    )
    assert plain(f"day photograph of toilet seat, guillotine, {measured}") == f"day photograph, {measured}"
    assert plain("rain on a street at night") == "rain on a street at night"
    assert len(PLAUSIBLE) > 80
    assert all(word == word.strip().lower() for word in PLAUSIBLE)


def test_plausible_words_are_classes() -> None:
    data = pytest.importorskip("timm.data", reason="the extra 'offline' is not installed")
    info = data.ImageNetInfo()
    known = {info.index_to_description(i).split(",")[0].lower() for i in range(1000)}
    assert known >= PLAUSIBLE, sorted(PLAUSIBLE - known)


def test_a_page_is_no_wider_than_a_phone(tmp_path: object) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    rows = [{"keep": True}] * 3 + [{"keep": False}] * 5
    wide = html.table(["a" * 20] * 9, [["b" * 30] * 9])
    page = html.page("k" * 90, [("The pyramid", distill._pyramid(rows, 1)), ("Wide", wide)])
    with playwright.sync_playwright() as p:
        import shutil

        found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if found is None:
            pytest.skip("no chromium here")
        browser = p.chromium.launch(executable_path=found, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 390, "height": 800})
        tab.set_content(page)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        browser.close()
