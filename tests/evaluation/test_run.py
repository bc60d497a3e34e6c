"""Bench: scores as 'rainrag score' gives them, resumed runs, folders of images, contamination, and the command."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from rainrag import baselines
from rainrag.benchmarks import ranking, tables
from rainrag.cli import app
from rainrag.core import images, workspace
from rainrag.core.errors import InputError, MissingError, UsageError
from rainrag.evaluation import metrics, results, run, submissions, testsets
from rainrag.evaluation import score as scoring
from rainrag.evaluation.run import BenchSettings
from rainrag.evaluation.submissions import Entrant
from rainrag.restore import Contract
from tests.conftest import picture, rainy

cli = CliRunner()


@pytest.fixture(autouse=True)
def _alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sets and weights from outside, but in tests that ask for them."""
    if "real_data" not in request.fixturenames:
        monkeypatch.delenv("RAINRAG_TESTDATA", raising=False)


@pytest.fixture
def pairs(write_pairs: Callable[..., Path], tmp_path: Path) -> Path:
    """Four pairs in the layout of Rain100L."""
    return write_pairs(tmp_path / "Rain100L", 4)


class Dimmer(nn.Module):
    """Makes images a little darker, counts them, and fails where it is told to."""

    def __init__(self, fail: int | None = None, nan: int | None = None) -> None:
        super().__init__()
        self.seen = 0
        self.fail, self.nan = fail, nan

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        if self.fail:
            time.sleep(0.1)  # so that the images before are scored by then
        if self.seen == self.fail:
            raise KeyboardInterrupt
        return x * float("nan") if self.seen == self.nan else x * 0.99


def dimmer(**settings: Any) -> Entrant:
    return Entrant("dimmer", trained_on=(), network=Dimmer(**settings), contract=Contract())


def opened(pairs: Path) -> testsets.Opened:
    return testsets.open_set(f"rain100l={pairs}")


def invoke(*args: Any) -> Any:
    return cli.invoke(app, ["-q", "bench", *map(str, args)])


# ---------------------------------------------------------------- one run
def test_the_input_scores_as_the_folder_does(pairs: Path, tmp_path: Path) -> None:
    paths = run.run(submissions.find("input", None), opened(pairs), BenchSettings(("y", "rgb")), tmp_path / "r")
    assert [p.name for p in paths] == ["input--none--y.json", "input--none--rgb.json"]
    for path, name in zip(paths, ("y", "rgb"), strict=True):
        want = scoring.score_folders(pairs / "input", pairs / "target", metrics.PRESETS[name])
        got = results.load(path)
        assert results.problems(path) == []
        assert got.mean == pytest.approx(want.mean)
        assert [(r["key"], r["psnr"]) for r in results.scores(path)] == [(r["key"], r["psnr"]) for r in want.images]
        assert got.signature == want.signature
        assert (got.n, got.inference, got.weights, got.trained_on) == (4, "full", None, ())
        assert got.testset_sha256 == opened(pairs).sha256
        assert got.clean is not None
        assert got.clean["mean"] == pytest.approx(got.mean)
        assert got.peak_memory_mb is None or got.peak_memory_mb > 1
        assert "4 images, published 100" in got.notes


def test_tiles_are_part_of_the_signature_and_the_name(pairs: Path, tmp_path: Path) -> None:
    path = run.run(dimmer(), opened(pairs), BenchSettings(("y",), tile="32,8"), tmp_path)[0]
    assert path.stem == "dimmer--none--y--tile32-8"
    assert results.load(path).inference == "tile32-8"
    assert "|tile32-8|" in results.load(path).signature["psnr"]
    assert results.problems(path) == []


def test_a_killed_run_goes_on_where_it_stopped(pairs: Path, tmp_path: Path) -> None:
    whole = run.run(dimmer(), opened(pairs), BenchSettings(("y",)), tmp_path / "whole")[0]
    with pytest.raises(KeyboardInterrupt):
        run.run(dimmer(fail=4), opened(pairs), BenchSettings(("y",)), tmp_path / "cut")
    log = next((tmp_path / "cut" / "rain100l").glob(".*.partial.jsonl"))
    kept = log.read_text().splitlines()
    assert kept  # rows that were scored before it was killed
    log.write_text("\n".join([*kept, kept[0][: len(kept[0]) // 2]]))  # a line that was being written
    again = dimmer()
    resumed = run.run(again, opened(pairs), BenchSettings(("y",)), tmp_path / "cut")[0]
    assert again.network.seen == 4 - len(kept)
    assert not log.exists()

    def bare(path: Path) -> list[dict[str, Any]]:
        return [{k: v for k, v in r.items() if k != "seconds"} for r in results.scores(path)]

    assert bare(resumed) == bare(whole)
    assert results.load(resumed).mean == results.load(whole).mean


def test_an_image_that_cannot_be_restored_is_left_out_with_a_reason(pairs: Path, tmp_path: Path) -> None:
    path = run.run(dimmer(nan=2), opened(pairs), BenchSettings(("y",)), tmp_path)[0]
    got = results.load(path)
    assert got.n == 3
    assert any(n.startswith("left out: 1 (the network gave values that are not finite") for n in got.notes)
    assert got.testset_sha256 != opened(pairs).sha256  # scores on other images are not compared


def test_truncation_is_a_protocol_of_its_own(pairs: Path, tmp_path: Path) -> None:
    rounded, cut = run.run(dimmer(), opened(pairs), BenchSettings(("y", "y-trunc")), tmp_path)
    assert results.load(cut).signature["psnr"] == "psnr|y601-studio|u8trunc|full|pair:key|mean-img|v1"
    item = opened(pairs).items[0]
    lq, gt = (side.rgb for side in item.read() if side is not None)
    want = metrics.score(np.float32(lq) / np.float32(255) * np.float32(0.99), gt, metrics.PRESETS["y-trunc"])
    assert results.scores(cut)[0]["psnr"] == pytest.approx(want["psnr"])
    assert results.scores(rounded)[0]["psnr"] != results.scores(cut)[0]["psnr"]


# ---------------------------------------------------------------- folders of images
def test_a_folder_is_joined_by_key(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "theirs"
    out.mkdir()
    for n in range(4):
        (out / f"{n}_derained.png").write_bytes(images.encode_png(picture(n)))
    entrant = Entrant("theirs", folder=out)
    got = results.load(run.run(entrant, opened(pairs), BenchSettings(("y",)), tmp_path / "r")[0])
    assert got.mean["ssim"] == pytest.approx(1)
    assert got.mean["psnr"] is None  # equal to the target
    assert (got.clean, got.trained_on) == (None, None)
    (out / "2_derained.png").unlink()
    with pytest.raises(InputError, match=r"1 of 4 images of rain100l are not here: 2"):
        run.run(entrant, opened(pairs), BenchSettings(("y",)), tmp_path / "r")


def test_outputs_cropped_as_unirain_s_script_saves_them(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "perceptual", lambda wanted, download: ([], dict.fromkeys(wanted, "no weights")))
    (tmp_path / "theirs").mkdir()
    for n in range(4):
        clean = picture(n, 50, 37)
        for side, rgb in (("input", rainy(clean, n)), ("target", clean)):
            (pairs / side / f"{n}.png").write_bytes(images.encode_png(rgb))
        cut = metrics.region(rainy(clean, n), multiple=16)
        assert cut.shape == (32, 48, 3)
        (tmp_path / "theirs" / f"{n}.png").write_bytes(images.encode_png(cut))
    mine = run.run(submissions.find("input", None), opened(pairs), BenchSettings(("unirain",)), tmp_path)[0]
    theirs = run.run(
        Entrant("theirs", folder=tmp_path / "theirs"), opened(pairs), BenchSettings(("unirain",)), tmp_path
    )
    assert results.load(theirs[0]).mean["psnr"] == pytest.approx(results.load(mine).mean["psnr"])
    assert results.load(theirs[0]).mean["lpips"] is None
    assert "lpips is unavailable: no weights" in results.load(mine).notes


# ---------------------------------------------------------------- weights and contamination
@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """PRN_r with weights that nobody published."""
    torch.manual_seed(0)
    path = tmp_path / "run-7" / "weights" / "prn-r.pth"
    path.parent.mkdir(parents=True)
    torch.save(baselines.create("prn-r").state_dict(), path)
    return path


def test_weights_of_one_s_own_and_what_they_saw(pairs: Path, weights: Path, tmp_path: Path) -> None:
    found = submissions.find("prn-r", str(weights))
    assert (found.weights, found.trained_on) == ("prn-r", None)
    assert found.notes == ("weights that the card does not list",)
    plain = results.load(run.run(found, opened(pairs), BenchSettings(("y",)), tmp_path / "a")[0])
    assert plain.clean is None
    rows = [{"key": "mine/train/5", "phash": images.phash(picture(0))}, {"key": "rain200l/train/9", "phash": "0" * 64}]
    (weights.parent / "scenes.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    found = submissions.find("prn-r", str(weights.parent))  # the folder of a run does too
    assert found.trained_on == ("mine", "rain200l")
    path = run.run(found, opened(pairs), BenchSettings(("y",)), tmp_path / "b")[0]
    got, scores = results.load(path), results.scores(path)
    assert [r["seen"] for r in scores] == [True, False, False, False]
    assert got.mean == pytest.approx(plain.mean)
    assert got.clean is not None
    assert (got.clean["n"], got.clean["complete"]) == (3, True)
    assert got.clean["mean"]["psnr"] == pytest.approx(np.mean([r["psnr"] for r in scores[1:]]))


def test_clean_scores_say_whether_all_is_known() -> None:
    rows = [{"scene": str(i), "seen": s, "psnr": float(i)} for i, s in enumerate((True, None, None))]
    found = run.clean(rows, ["psnr"])
    assert found is not None
    assert (found["n"], found["mean"]["psnr"], found["complete"]) == (2, 1.5, False)
    assert run.clean(rows[1:], ["psnr"]) is None
    none_left = run.clean(rows[:1], ["psnr"])
    assert none_left == {"n": 0, "mean": {"psnr": None}, "interval": {"psnr": None}, "complete": True}


def test_published_weights_that_suit_the_set_come_first() -> None:
    usable = baselines.card_of("prenet").weights
    tags = [w for w in usable if w.refused is None]
    assert submissions._suited(tags, ("rain200h", "rain100h")).tag == "rain100h"  # type: ignore[union-attr]
    assert submissions._suited(tags, ("raindrop",)).tag == tags[0].tag  # type: ignore[union-attr]
    with pytest.raises(MissingError, match="rainrag weights fetch prenet --tag rain100h"):
        submissions.find("prenet", None, ("rain100h",))
    with pytest.raises(MissingError, match="no weights of 'transweather' were published"):
        submissions.find("transweather", None)
    with pytest.raises(UsageError, match="no weights to load"):
        submissions.find("median", "x.pth")
    with pytest.raises(UsageError, match="has no weights 'rain100'"):
        submissions.find("prenet", "rain100")


def test_published_figures_of_prenet(real_data: Path, tmp_path: Path) -> None:
    one = testsets.open_set("rain200l-sample", limit=1)
    entrant = submissions.find("prenet", None, one.testset.kin)
    assert (entrant.weights, entrant.trained_on) == ("rain100l", ("rain100l",))
    path = run.run(entrant, one, BenchSettings(("y-trunc",)), tmp_path)[0]
    got = results.load(path)
    assert got.mean["psnr"] == pytest.approx(42.44, abs=0.005)  # with the authors' own network and script
    assert "a sample of 200" in got.notes


# ---------------------------------------------------------------- side by side
def standing(root: Path, name: str, gain: float, **changes: Any) -> Path:
    rng = np.random.default_rng(7)
    rows = [
        {"key": str(i), "scene": str(i), "seen": None, "psnr": 30 + gain + float(x), "seconds": 0.1}
        for i, x in enumerate(rng.normal(0, 1, 20))
    ]
    mean = sum(r["psnr"] for r in rows) / 20
    base = results.Result(
        model=name, weights=None, weights_sha256=None, testset="rain100l", testset_sha256="a", protocol="y",
        signature={"psnr": "s"}, inference="full", n=20, mean={"psnr": mean}, interval={"psnr": None}, environment={},
        seconds=2.0, peak_memory_mb=None, trained_on=None,
    )  # fmt: skip
    return results.save(root, replace(base, **changes), rows)


def test_a_table_ranks_and_groups(tmp_path: Path) -> None:
    paths = [standing(tmp_path, n, g) for n, g in (("low", -2.0), ("twin", 0.0), ("high", 2.0), ("same", 0.0))]
    paths.append(standing(tmp_path, "other", 5.0, testset_sha256="b"))
    t = ranking.table(paths)
    found = {s.result.model: (s.rank, s.group) for s in t.standings}
    assert found == {"other": (None, ""), "high": ((1, 1), "a"), "twin": ((2, 3), "b"), "same": ((2, 3), "b"),
                     "low": ((4, 4), "c")}  # fmt: skip
    assert [s.result.model for s in t.standings][:2] == ["other", "high"]
    assert t.notes == ("1 results are on other images or of another signature: not ranked with the rest",)


def test_images_without_a_finite_score_are_left_out_of_the_tests(tmp_path: Path) -> None:
    a, b = standing(tmp_path, "a", 1.0), standing(tmp_path, "b", 0.0)
    rows = results.scores(a)
    rows[3]["psnr"] = None
    results.save(tmp_path, replace(results.load(a), mean={"psnr": None}), rows)
    t = ranking.table([a, b])
    assert t.left_out == 1
    assert {s.result.model: s.rank for s in t.standings} == {"a": (1, 1), "b": (2, 2)}


def test_published_figures_stand_beside_ours(tmp_path: Path) -> None:
    path = standing(tmp_path, "prenet", 0.0, weights="rain100l", weights_sha256="1" * 64)
    shown = ranking.table([path]).standings[0].published
    assert any((p.psnr, p.ssim, p.sure) == (37.48, 0.979, True) for p in shown)
    other = standing(tmp_path, "prenet", 0.0, weights="rain100h", weights_sha256="2" * 64)
    assert all(p.psnr != 37.48 for p in ranking.table([other]).standings[0].published)


# ---------------------------------------------------------------- experiments
@pytest.mark.parametrize("name", tables.names())
def test_experiments_name_what_is_known(name: str) -> None:
    experiment = tables.get(name)
    assert experiment.name == name
    for entry in experiment.entries:
        assert entry.model == "unirain" or baselines.get(entry.model).build is not None
        assert not entry.train or (entry.weights or "") + "" in entry.train + "/weights"
    for testset in experiment.testsets:
        testsets.get(testset)
    for protocol in experiment.protocols:
        metrics.protocol(protocol)
    for row in experiment.figures():
        assert row["inferred"] in ("yes", "no")
        assert row["source"]


def test_published_tables_are_the_paper_s() -> None:
    def figure(name: str, **where: str) -> list[str]:
        return [r["psnr_db"] for r in tables.read(name) if all(r[k] == v for k, v in where.items())]

    assert figure("table1_rainrag.csv", method="UniRain", subset="NRD") == ["26.21"]
    assert figure("table2_public.csv", method="PReNet", testset="weatherbench-rain") == ["31.18"]
    assert figure("table4_distillation_ablation.csv", variant="only VLM") == ["27.73"]
    assert figure("table5_optimization.csv", method="PIGWM", inferred="yes") == ["18.38"]
    assert figure("table6_moe_ablation.csv", variant="Variant 3") == ["27.91"]
    assert figure("table7_weatherbench.csv", method="WGWS-Net", inferred="yes") == ["23.89"]
    rows = tables.published()
    assert {"unirain", "prenet", "input"} <= {r["model"] for r in rows}
    assert {r["testset"] for r in rows} <= set(testsets.TABLE)


# ---------------------------------------------------------------- the command
def test_the_command_runs_skips_and_runs_again(pairs: Path, tmp_path: Path) -> None:
    args = ("--model", "input,median", "--testset", f"rain100l={pairs}", "--protocol", "y", "--json")
    done = invoke(*args)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    (shown,) = document["tables"]
    assert (shown["testset"], shown["protocol"]) == ("rain100l", "y")
    assert {r["model"] for r in shown["results"]} == {"input", "median"}
    assert all(r["rank"] and r["group"] for r in shown["results"])
    path = workspace.place("results", "rain100l", "input--none--y.json")
    first = path.read_bytes()
    assert results.problems(path) == []
    assert invoke(*args).exit_code == 0
    assert path.read_bytes() == first  # seconds and all: it was not run again
    assert invoke(*args, "--always").exit_code == 0
    assert path.read_bytes() != first
    path.write_text(path.read_text().replace('"n": 4', '"n": 5'))  # edited: it is no result any more
    plan = json.loads(invoke(*args, "--dry-run").stdout)
    assert {r["model"]: r["there"] for r in plan["runs"]} == {"input": False, "median": True}


def test_other_images_under_the_same_name_are_run(pairs: Path) -> None:
    args = ("--model", "input", "--testset", f"rain100l={pairs}", "--protocol", "y", "--json")
    before = json.loads(invoke(*args).stdout)["tables"][0]["results"][0]
    (pairs / "input" / "0.png").write_bytes(images.encode_png(picture(0)))
    after = json.loads(invoke(*args).stdout)["tables"][0]["results"][0]
    assert after["testset_sha256"] != before["testset_sha256"]
    assert after["psnr" if "psnr" in after else "mean"] != before["mean"]


def test_everything_that_is_missing_is_listed(tmp_path: Path) -> None:
    done = cli.invoke(app, ["bench", "table1", "--dry-run"])
    assert done.exit_code == 4
    for text in ("'rainrag-drs' is not available locally", "rainrag train --model restormer --recipe paper"):
        assert text in " ".join(done.output.split())
    with pytest.raises(MissingError, match=r"own-drs(.|\n)*rainrag distill") as e:
        app(["-q", "bench"], standalone_mode=False)
    assert e.value.exit_code == 4


def test_a_table_of_the_paper_shows_what_was_published_where_nothing_is_at_hand() -> None:
    done = cli.invoke(app, ["bench", "table6"])
    assert done.exit_code == 4
    said = " ".join(done.output.split())
    assert "28.93" in said  # UniRain's row
    assert "'rainrag-drs' is not available locally" in said


@pytest.mark.parametrize("load", [0.5, 1e6])
def test_seconds_beside_other_work_are_called_no_measurement(
    load: float, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run.os, "getloadavg", lambda: (load, load, load))
    got = results.load(run.run(dimmer(), opened(pairs), BenchSettings(("y",)), tmp_path)[0])
    assert (results.BUSY in got.notes) is (load > 1000)


def test_what_is_there_is_run_and_the_rest_is_named(pairs: Path) -> None:
    done = invoke("--model", "input,prenet", "--testset", f"rain100l={pairs}", "--protocol", "y", "--json")
    assert done.exit_code == 4
    document = json.loads(done.stdout)
    assert [r["model"] for r in document["tables"][0]["results"]] == ["input"]
    assert "weights fetch prenet" in document["missing"][0]["hint"]


def test_a_smoke_test_keeps_nothing(pairs: Path) -> None:
    done = invoke("--model", "input", "--testset", f"rain100l={pairs}", "--protocol", "y", "--smoke", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["tables"][0]["results"][0]["n"] == 2
    assert not workspace.place("results").exists()


def test_saved_images_explain_a_number(pairs: Path) -> None:
    args = ("--model", "median", "--testset", f"rain100l={pairs}", "--protocol", "y", "--save-images", "--json")
    done = invoke(*args)
    (row,) = json.loads(done.stdout)["tables"][0]["results"]
    out, gt = results.folders(Path(row["path"]))
    assert scoring.score_folders(out, gt, metrics.PRESETS["y"]).mean["psnr"] == pytest.approx(row["mean"]["psnr"])
    assert sorted(p.name for p in (gt.parent / "inputs").iterdir()) == ["0.png", "1.png", "2.png", "3.png"]
    said = cli.invoke(app, ["-q", "explain", f"{row['mean']['psnr']:.4f}", "--result", row["path"], "--json"])
    assert json.loads(said.stdout)["consistent"][0]["signature"] == row["signature"]["psnr"]


def test_a_folder_of_images_by_the_command(pairs: Path) -> None:
    done = invoke("--images", pairs / "target", "--model", "oracle", "--testset", f"rain100l={pairs}", "--protocol",
                  "y", "--json")  # fmt: skip
    (row,) = json.loads(done.stdout)["tables"][0]["results"]
    assert (row["model"], row["mean"]["psnr"], row["mean"]["ssim"]) == ("oracle", None, pytest.approx(1))


@pytest.mark.parametrize(
    ("lq", "gt", "results"),
    [
        ("test/rain/X2/norain-{}x2.png", "test/norain/norain-{}.png", "norain-{}x2.png"),
        ("test/rain/X2/norain-{}x2.png", "test/norain/norain-{}.png", "{}.png"),
        ("test/rain/X2/norain-{}x2.png", "test/norain/norain-{}.png", "{}_MyNet.jpg"),
    ],
)
def test_results_named_like_the_inputs_are_found(tmp_path: Path, lq: str, gt: str, results: str) -> None:
    root = tmp_path / "Rain200H"
    for n in (1, 2):
        for name in (root / lq.format(n), root / gt.format(n), tmp_path / "res" / results.format(n)):
            name.parent.mkdir(parents=True, exist_ok=True)
            name.write_bytes(images.encode_png(rainy(picture(n)) if "/rain/" in str(name) else picture(n)))
    (tmp_path / "res" / "log.txt").write_text("done")
    done = invoke("--images", tmp_path / "res", "--model", "mine", "--testset", f"rain200h={root}", "--protocol", "y",
                  "--json")  # fmt: skip
    (row,) = json.loads(done.stdout)["tables"][0]["results"]
    assert (row["n"], row["mean"]["psnr"]) == (2, None)
    assert "not read: 1 text or table: log.txt" in row["notes"]
    loud = cli.invoke(app, ["bench", "--images", str(tmp_path / "res"), "--testset", f"rain200h={root}", "--smoke"])
    assert loud.stderr.splitlines()[0].endswith("2 pairs")


def test_results_of_other_names_are_refused_with_the_pattern_that_would_do(pairs: Path, tmp_path: Path) -> None:
    for n in range(4):
        path = tmp_path / "res" / f"{'abcd'[n]}{n}q.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(images.encode_png(picture(n)))
    with pytest.raises(InputError, match="4 of 4 images of rain100l are not here") as e:
        app(["-q", "bench", "--images", str(tmp_path / "res"), "--testset", f"rain100l={pairs}"], standalone_mode=False)
    assert "--pattern" in str(e.value)
    done = invoke("--images", tmp_path / "res", "--testset", f"rain100l={pairs}", "--pattern", "*{}q", "--protocol", "y",
                  "--json")  # fmt: skip
    assert json.loads(done.stdout)["tables"][0]["results"][0]["n"] == 4


def test_a_target_that_is_cut_like_a_cropped_result_is_signed(tmp_path: Path) -> None:
    root = tmp_path / "Rain100L"
    for n in (1, 2):
        clean = picture(n, 67, 53)
        for side, rgb in (("input", rainy(clean, n)), ("target", clean), ("res", metrics.region(clean, multiple=16))):
            path = (root if side != "res" else tmp_path) / side / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(images.encode_png(rgb))
    done = invoke("--images", tmp_path / "res", "--testset", f"rain100l={root}", "--protocol", "y", "--protocol", "unirain",
                  "--json")  # fmt: skip
    found = {r["protocol"]: r for t in json.loads(done.stdout)["tables"] for r in t["results"]}
    assert found["y"]["mean"]["psnr"] is None, "equal to the cut target"
    assert "|target-crop8|" in found["y"]["signature"]["psnr"]
    assert "target-crop" not in found["unirain"]["signature"]["psnr"]
    assert "|crop16|" in found["unirain"]["signature"]["psnr"]


def test_wrong_words_are_answered() -> None:
    for args, says in (
        (["bench", "table9"], "did you mean"),
        (["bench", "--model", "restormr", "--testset", "rain100l"], "did you mean"),
        (["bench", "--testset", "rain100k"], "did you mean rain1"),
        (["bench", "--model", "a,b", "--weights", "x.pth"], "--weights of which model"),
        (["bench", "table1", "--recipe", "laptop"], "--recipe trains the models of --model"),
    ):
        with pytest.raises((UsageError, MissingError), match=says):
            app(["-q", *args], standalone_mode=False)


def test_no_targets_no_psnr(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "Real", 2)
    done = tmp_path / "r"
    alone = testsets.open_set(f"folder:{root / 'input'}")
    with pytest.raises(UsageError, match="has no targets"):
        run.run(submissions.find("input", None), alone, BenchSettings(("y",)), done)
    with pytest.raises(UsageError, match="is for sets without"):
        run.run(submissions.find("input", None), opened(write_pairs(tmp_path / "Rain100L", 2)),
                  BenchSettings(("no-reference",)), done)  # fmt: skip


def test_no_reference_metrics_where_they_can_be_had(
    write_pairs: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Brightness:
        name, version, needs_target = "niqe", "test", False

        def __call__(self, out: images.U8, gt: images.U8 | None) -> float:
            assert gt is None
            return float(out.mean())

    monkeypatch.setattr(
        scoring, "perceptual", lambda wanted, download: ([Brightness()], dict.fromkeys(wanted[1:], "no weights"))
    )
    alone = testsets.open_set(f"folder:{write_pairs(tmp_path / 'Real', 2) / 'input'}")
    path = run.run(submissions.find("input", None), alone, BenchSettings(), tmp_path / "r")[0]
    got = results.load(path)
    assert results.problems(path) == []
    assert got.mean["niqe"] == pytest.approx(np.mean([rainy(picture(i), i).mean() for i in range(2)]))
    assert (got.mean["musiq"], list(got.signature)) == (None, ["niqe"])
    assert "musiq is unavailable: no weights" in got.notes
