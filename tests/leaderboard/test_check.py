"""The guard: a sound folder passes, and every kind of broken copy is refused with a message that names it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from rainrag.cli import verbs
from rainrag.core.errors import InputError, IntegrityError, MissingError
from rainrag.core.files import read_json, write_json
from rainrag.evaluation import results
from rainrag.leaderboard import check as guard
from rainrag.leaderboard.build import RESULTS
from tests.leaderboard.conftest import rows, run


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    root = tmp_path / "results"
    run(root, "input", rows(1, 20.0))
    run(root, "median", rows(2, 25.0))
    run(root, "input", rows(1, 20.0), testset="rain200l")
    guard.accept(root)
    return root


def call(*arguments: str) -> tuple[int, str, BaseException | None]:
    done = CliRunner().invoke(verbs.load("leaderboard"), list(arguments))
    return done.exit_code, done.stdout, done.exception


def edit(path: Path, honest: bool = False, **fields: object) -> None:
    """Change fields of a result; an ``honest`` forger also makes the digest again."""
    document = {**read_json(path), **fields}
    if honest:
        document["digest"] = results.digest(document, results.scores(path))
    write_json(path, document)


def schema(root: Path) -> None:
    document = read_json(root / "rain100l" / "median--none--y.json")
    del document["n"]
    write_json(root / "rain100l" / "median--none--y.json", document)


def future(root: Path) -> None:
    edit(root / "rain100l" / "median--none--y.json", schema=99)


def silent(root: Path) -> None:
    edit(root / "rain100l" / "median--none--y.json", seconds=0.01)


def better(root: Path) -> None:
    path = root / "rain100l" / "median--none--y.json"
    edit(path, honest=True, mean={**read_json(path)["mean"], "psnr": 40.0})


def forged(root: Path) -> None:
    edit(root / "rain100l" / "median--none--y.json", honest=True, notes=["state of the art"])


def removed(root: Path) -> None:
    for suffix in (".json", ".parquet"):
        (root / "rain100l" / f"median--none--y{suffix}").unlink()


def split(root: Path) -> None:
    shutil.rmtree(root / "rain200l")


def scoreless(root: Path) -> None:
    (root / "rain100l" / "median--none--y.parquet").unlink()


def orphan(root: Path) -> None:
    (root / "rain100l" / "median--none--y.json").unlink()


def torn(root: Path) -> None:
    (root / "rain100l" / "median--none--y.json").write_text('{"model": ')


def twice(root: Path) -> None:
    first = root / "rain100l" / "median--none--y.json"
    for suffix in (".json", ".parquet"):
        shutil.copy(first.with_suffix(suffix), first.with_name(f"median--none--y--tile256{suffix}"))


def misplaced(root: Path) -> None:
    for suffix in (".json", ".parquet"):
        shutil.copy(root / "rain100l" / f"median--none--y{suffix}", root / "rain200l" / f"median--none--y{suffix}")


BROKEN: list[tuple[Callable[[Path], None], str, str]] = [
    (schema, "damaged", "no field 'n'"),
    (future, "damaged", "schema is 99"),
    (silent, "damaged", "edited after the run"),
    (better, "damaged", "mean psnr is 40.0"),
    (forged, "changed", "not the accepted one"),
    (removed, "removed", "it was there before"),
    (split, "removed", "whole test set 'rain200l'"),
    (scoreless, "damaged", "scores of its images are gone"),
    (orphan, "stray", "belongs to no result"),
    (torn, "damaged", "not a JSON file"),
    (twice, "duplicate", "the same run as rain100l/median--none--y"),
    (misplaced, "damaged", "which its name does not say"),
]


def test_sound_results_pass(sound: Path) -> None:
    assert guard.check(sound) == []
    code, out, _ = call("check", "--results", str(sound))
    assert (code, out) == (0, "")


@pytest.mark.parametrize(("breaks", "kind", "says"), BROKEN, ids=[b.__name__ for b, *_ in BROKEN])
def test_broken_copies_are_refused(sound: Path, breaks: Callable[[Path], None], kind: str, says: str) -> None:
    breaks(sound)
    found = guard.check(sound)
    assert any(p.kind == kind and says in p.what for p in found), found
    _, out, error = call("check", "--results", str(sound))
    assert f": {kind}: " in out
    assert isinstance(error, IntegrityError)
    assert error.exit_code == 5


def test_nothing_broken_can_be_accepted(sound: Path) -> None:
    before = (sound / "roll.json").read_bytes()
    forged(sound)
    assert isinstance(call("check", "--results", str(sound), "--accept")[2], IntegrityError)
    silent(sound)
    assert isinstance(call("check", "--results", str(sound), "--accept", "--replace")[2], IntegrityError)
    assert (sound / "roll.json").read_bytes() == before


def test_what_is_meant_can_be_accepted(sound: Path) -> None:
    forged(sound)
    split(sound)
    run(sound, "guided", rows(3, 26.0))
    assert call("check", "--results", str(sound), "--accept", "--replace")[0] == 0
    assert set(guard.read_roll(sound)) == {
        "rain100l/input--none--y",
        "rain100l/median--none--y",
        "rain100l/guided--none--y",
    }
    assert guard.check(sound) == []


def test_new_results_are_named(sound: Path) -> None:
    run(sound, "guided", rows(3, 26.0))
    code, out, _ = call("check", "--results", str(sound), "--json")
    assert code == 0
    assert json.loads(out) == {"results": 4, "new": ["rain100l/guided--none--y"], "problems": []}


def test_no_folder_nothing_in_it_or_no_roll(tmp_path: Path, sound: Path) -> None:
    with pytest.raises(MissingError):
        guard.check(tmp_path / "gone")
    with pytest.raises(InputError, match="no result"):
        guard.check(tmp_path)
    (sound / "roll.json").write_text("[]")
    with pytest.raises(InputError, match="not a roll"):
        guard.check(sound)


def test_the_committed_results_are_sound() -> None:
    assert guard.check(RESULTS) == []
