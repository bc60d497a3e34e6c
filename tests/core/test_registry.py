"""Objects by name: the table, entry points of installed packages, and addresses that a user typed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rainrag.core.errors import InputError, UsageError
from rainrag.core.registry import Registry, load

TABLE = {"mean": "statistics:mean", "median": "statistics:median"}


def install(folder: Path, package: str, points: dict[str, str], code: str) -> None:
    """A distribution as pip leaves it: a module, and its metadata with entry points."""
    (folder / f"{package}.py").write_text(code)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[rainrag.averages]", *lines]) + "\n")


@pytest.fixture
def averages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[object]:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Registry("average", TABLE, group="rainrag.averages", hint="'rainrag averages' lists all", also=("all",))


def test_a_name_of_the_table_gives_the_object_at_its_address(averages: Registry[object]) -> None:
    import statistics

    assert averages.get("median") is statistics.median
    assert averages.names() == ["mean", "median"]


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    registry: Registry[object] = Registry("thing", {"a": "no.such.module:THING"})
    assert registry.names() == ["a"]
    with pytest.raises(ImportError):
        registry.get("a")


@pytest.mark.parametrize(("name", "near"), [("medain", "median, mean"), ("al", "all")])
def test_an_unknown_name_is_refused_with_the_nearest(averages: Registry[object], name: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"no average '{name}'") as caught:
        averages.get(name)
    assert f"did you mean {near}? 'rainrag averages' lists all" in str(caught.value.hint)


def test_an_installed_package_adds_names_and_replaces_none(averages: Registry[object], tmp_path: Path) -> None:
    install(tmp_path, "addsmode", {"mode": "addsmode:MODE", "mean": "addsmode:MODE"}, "MODE = 'mode of theirs'\n")
    assert averages.installed() == ["mode"]
    assert averages.get("mode") == "mode of theirs"
    assert averages.get("mean") is load("statistics:mean")
    assert "mode" in averages
    assert "mood" not in averages
    with pytest.raises(UsageError) as caught:
        averages.get("mod")
    assert "mode" in str(caught.value.hint)


def test_a_package_that_cannot_be_loaded_is_named(averages: Registry[object], tmp_path: Path) -> None:
    install(tmp_path, "breaks", {"mode": "breaks:MODE"}, "raise RuntimeError('out of tune')\n")
    with pytest.raises(InputError, match=r"breaks:MODE cannot be loaded: out of tune"):
        averages.get("mode")


def test_two_packages_that_add_one_name_are_refused(averages: Registry[object], tmp_path: Path) -> None:
    for package in ("first", "second"):
        install(tmp_path, f"{package}mode", {"mode": f"{package}mode:MODE"}, "MODE = 1\n")
    with pytest.raises(InputError, match="firstmode:MODE, secondmode:MODE"):
        averages.get("mode")


def test_an_address_is_imported_only_where_a_user_typed_it(averages: Registry[object], tmp_path: Path) -> None:
    (tmp_path / "mine_only.py").write_text("AVERAGE = 7\n")
    with pytest.raises(UsageError):
        averages.get("mine_only:AVERAGE")
    assert "mine_only" not in sys.modules
    assert averages.resolve("mine_only:AVERAGE") == 7
    assert averages.resolve("median") is averages.get("median")


@pytest.mark.parametrize("spec", ["no.such.module:THING", "statistics:nothing", ":THING", "statistics:"])
def test_an_address_at_which_nothing_is_is_refused(averages: Registry[object], spec: str) -> None:
    with pytest.raises(UsageError, match="no average at"):
        averages.resolve(spec)
