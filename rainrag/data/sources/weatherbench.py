"""WeatherBench: rain, haze and snow made by generators, photographed by day and by night."""

from __future__ import annotations

from rainrag.core.types import Archive, Source
from rainrag.data.sources.layouts import Rule, equal_name, same_names


def _part(weather: str) -> Rule:
    return same_names(
        rf"{weather}/(?:(?:train|validation|val|test)/)?",
        stem=f"{weather}/{{name}}",
        scene=f"{{split}}/{weather}/{{name}}",
        name="[^/]+",
        weather=weather,
        streak=weather == "rain",
    )


WEATHERBENCH = Source(
    name="weatherbench",
    title="WeatherBench",
    paper="WeatherBench: a real-world benchmark dataset for all-in-one adverse weather image restoration, ACM MM 2025",
    homepage="https://github.com/guanqiyuan/WeatherBench",
    licence="unstated",
    layouts=(
        equal_name(
            "{rain,haze,snow}/{train,test}/{input,target}/NAME or {train,test}/{rain,haze,snow}/{input,target}/NAME; "
            "without a split's name it counts as test",
            *(_part(weather) for weather in ("rain", "haze", "snow")),
            default_split="test",
        ),
    ),
    streak=True,
    drop=False,
    night=None,
    accumulation=None,
    real=True,
    counts={"train": 41402, "test": 600},
    archives=(
        Archive("gdrive", "1TWIqyxPewjIzdtcO2Nuo0gSnlAzWCSSm"),
        Archive("baidu", "https://pan.baidu.com/s/1k-bEe7d_LHSUMNHr9_-9uA", password="dlpu"),
    ),
    role="test",
    notes=(
        "The inside of the archive was not seen: a folder rain, haze or snow has to name the weather.",
        "Haze and snow carry their own weather label and no subset: they are in the config 'all' alone.",
        "Part of the rain is at night: day or night is judged from the pixels.",
        "The published counts are over the three kinds of weather.",
        "Some targets keep drops.",
        "Another project of this name is about weather forecasts.",
    ),
    citation="@inproceedings{weatherbench2025, title={WeatherBench: a real-world benchmark dataset for all-in-one "
    "adverse weather image restoration}, booktitle={ACM MM}, year={2025}}",
)
