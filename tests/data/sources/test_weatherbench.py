"""WeatherBench: rain by day and night, haze and snow beside it."""

from __future__ import annotations

import pytest

from rainrag.core.errors import LayoutError
from tests.data.sources.build import files, found, pairs, take


@pytest.mark.parametrize("form", ["{}/test/{{input,target}}/1.jpg", "test/{}/{{input,target}}/1.jpg"])
def test_weather_is_the_folder_and_lighting_the_pixels(tmp_path, form):
    root = files(tmp_path / "WeatherBench", *(form.format(w) for w in ("rain", "haze", "snow")))
    files(root, form.format("rain").replace("1.jpg", "2.jpg"), light=30)
    report, rows = take("weatherbench", root, tmp_path / "out")
    assert {k.removeprefix("weatherbench/test/"): (r["weather"], r["subset"]) for k, r in rows.items()} == {
        "rain/1": ("rain", "DRS"),
        "rain/2": ("rain", "NRS"),
        "haze/1": ("haze", None),
        "snow/1": ("snow", None),
    }
    assert rows["weatherbench/test/haze/1"]["streak"] is False
    assert report.night_judged == 4


def test_a_weather_folder_as_the_root(tmp_path):
    root = files(tmp_path / "WeatherBench", "snow/train/{input,target}/1.jpg")
    assert set(pairs("weatherbench", root / "snow")) == {"train/snow/1"}
    assert found("weatherbench", root / "snow/train").pairs[0].weather == "snow"


def test_the_weather_is_not_guessed(tmp_path):
    with pytest.raises(LayoutError, match="rain,haze,snow"):
        found("weatherbench", files(tmp_path / "x", "test/{input,target}/1.jpg"))
