"""The command line as a user meets it: every verb with bad input, exit codes, help, quiet, colours, interrupts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

import rainrag.cli
from rainrag.cli import app, console, verbs
from rainrag.core import images
from tests.conftest import picture, rainy

ROOT = Path(__file__).parents[2]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """``call("score", "a", "b")`` runs the entry point: (exit code, stdout, stderr). A fault of ours raises."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rainrag", *arguments])
        with pytest.raises(SystemExit) as end:
            rainrag.cli.main()
        console.QUIET = console.VERBOSE = False
        shown = capsys.readouterr()
        return int(end.value.code or 0), shown.out, shown.err

    return run


def pairs(root: Path, n: int = 2) -> Path:
    for i in range(n):
        clean = picture(i)
        for side, rgb in (("input", rainy(clean, i)), ("target", clean)):
            (root / side).mkdir(parents=True, exist_ok=True)
            (root / side / f"{i}.png").write_bytes(images.encode_png(rgb))
    return root


# ---------------------------------------------------------------- the table of verbs
def test_the_table_holds_every_verb_that_the_files_register() -> None:
    registered: dict[str, str] = {}
    for path in sorted((ROOT / "rainrag" / "cli").glob("*.py")):
        if "\ndef register(" not in path.read_text():
            continue
        found = typer.Typer()
        found.callback()(lambda: None)
        __import__("importlib").import_module(f"rainrag.cli.{path.stem}").register(found)
        registered |= dict.fromkeys(typer.main.get_command(found).commands, path.stem)
    assert registered == {name: verb.file for name, verb in verbs.VERBS.items()}


def test_the_overview_names_every_verb_once(call) -> None:
    code, out, _ = call("--help")
    assert code == 0
    for name, verb in verbs.VERBS.items():
        assert re.search(rf"^  {name} +{re.escape(verb.line[:30])}", out, re.M), name


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_every_verb_explains_itself(call, verb: str) -> None:
    code, out, _ = call(verb, "-h")
    assert code == 0
    assert f"rainrag {verb}" in out


# ---------------------------------------------------------------- bad input
#: Wrong in the way users are wrong, and the exit code that docs/cli.md promises.
WRONG = [
    (["scroe"], 2, "Did you mean 'score'"),
    (["ingest", "--rot", "x"], 2, "No such option"),
    (["ingest", "rain10l"], 2, "did you mean"),
    (["ingest"], 4, "rainrag download"),
    (["ingest", "rain100l"], 4, "rainrag download rain100l"),
    (["ingest", "rain100l", "--root", "{empty}"], 3, "no known layout"),
    (["ingest", "rain100l", "--root", "{pairs}", "--split", "trian"], 2, "did you mean train"),
    (["ingest", "{pairs}"], 2, "rainrag ingest folder --root"),
    (["ingest", "folder", "--root", "{pairs}", "--pattern", "x"], 2, "one {} on each side"),
    (["ingest", "folder", "--root", "{pairs}", "--pattern", "{{}}=x{{}}", "--unlabelled"], 2, "exclude each other"),
    (["ingest", "--rot"], 2, "hint: rainrag ingest --help"),
    (["ingest", "rain100l", "--root", "{pairs}", "--lq-glob", "*"], 2, "only fit the source 'folder'"),
    (["ingest", "folder", "--root", "{pairs}", "--subset", "DRX"], 2, "one of DRS, DRD, NRS, NRD"),
    (["ingest", "folder", "--root", "{pairs}", "--gt-glob", "*"], 2, "needs --lq-glob"),
    (["ingest", "folder", "--root", "{pairs}", "--limit", "0"], 2, "limit"),
    (["ingest", "folder", "--root", "{file}"], 4, "not available locally"),
    (["ingest", "rendered"], 2, "how many scenes"),
    (["ingest", "rendered", "--scenes", "4", "--backgrounds", "{empty}"], 3, "no usable photograph"),
    (["ingest", "rendered", "--scenes", "4", "--backgrounds", "{gone}"], 4, "no such folder"),
    (["sources", "rain10l"], 2, "did you mean"),
    (["download", "rain10l"], 2, "did you mean"),
    (["download", "urir-8k"], 4, ""),
    (["audit", "{gone}"], 4, "no such folder"),
    (["audit", "{empty}"], 3, ""),
    (["audit", "{pairs}", "--against", "{gone}"], 4, "no such folder"),
    (["score", "{gone}", "{pairs}/target"], 4, ""),
    (["score", "{pairs}/input", "{pairs}/target", "--protocol", "matlab"], 2, "matlab-y"),
    (["score", "{pairs}/input"], 2, "gt"),
    (["explain", "38.99"], 2, ""),
    (["explain", "much", "--images", "{pairs}/input", "--gt", "{pairs}/target"], 2, "valid number"),
    (["store", "info", "--store", "{gone}"], 4, ""),
    (["store", "query", "{gone}/x.png", "--store", "{gone}"], 4, ""),
    (["store", "build", "{gone}", "--store", "{empty}/store"], 4, ""),
    (["store", "bild"], 2, "build"),
    (["distill", "{gone}"], 4, ""),
    (["distill", "--voters", "internvle"], None, ""),
    (["verify", "{gone}"], 4, ""),
    (["train", "--recipe", "papr", "--data", "{pairs}"], None, "paper"),
    (["train", "--data", "{gone}"], None, "no such folder"),
    (["bench", "--model", "restormre"], 2, "restormer"),
    (["bench", "--testset", "rain10l"], 2, "rain100l"),
    (["models", "restormre"], 2, "restormer"),
    (["weights", "fetch", "restormre"], 2, "restormer"),
    (["weights", "check", "{gone}", "prenet"], 4, ""),
    (["demo", "--data", "{gone}"], 4, "no such folder"),
    (["demo", "--data", "{empty}"], 3, "no image"),
    (["demo", "--data", "{file}"], 4, "no such folder"),
    (["demo", "--scenes", "2"], 2, "--scenes"),
    (["report", "{gone}"], 4, "rainrag distill"),
    (["push", "{gone}", "me/rain"], 4, "rainrag distill"),
    (["calibrate", "--fault", "wrong-targte", "--store", "{gone}"], 2, "did you mean"),
    (["demo", "--subset", "DRS"], 2, "pairs of your own"),
    (["calibrate", "--store", "{gone}"], 4, ""),
    (["leaderboard", "build", "--results", "{gone}"], 4, ""),
    (["leaderboard", "build", "--results", "{empty}"], 3, "rainrag bench"),
    (["leaderboard", "check", "--results", "{gone}"], 4, "rainrag bench"),
    (["leaderboard", "check", "--results", "{empty}"], 3, "no result"),
    (["leaderboard", "biuld"], 2, "build"),
    (["models", "unirain"], 2, "--complexity"),
    (["derain", "{gone}.png"], 4, ""),
    (["derain", "{file}"], None, ""),
    (["derain", "{pairs}/input/0.png", "--device", "cdua"], 2, "no device 'cdua'"),
    (["derain", "{gone}", "--tile", "abc"], 2, "no tiling 'abc'"),
    (["derain", "{gone}", "--precision", "fp8"], 2, "no precision 'fp8'"),
    (["bench", "--tile", "abc"], 2, "no tiling 'abc'"),
    (["derain", "{pairs}/input/0.png", "--weights", "tyni"], None, ""),
]


@pytest.mark.parametrize(("arguments", "code", "says"), WRONG, ids=lambda x: " ".join(x) if isinstance(x, list) else "")
def test_a_users_mistake_is_answered_not_traced(call, tmp_path: Path, arguments, code, says) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("no photograph")
    places = {"empty": tmp_path / "empty", "gone": tmp_path / "gone", "file": tmp_path / "file"}
    places["pairs"] = pairs(tmp_path / "pairs")
    got, out, err = call(*[a.format(**places) for a in arguments])
    assert got == code if code is not None else got in (2, 3, 4), err
    assert "Traceback" not in err
    assert says in " ".join((out + err).split())


def test_every_verb_is_called_wrongly_above() -> None:
    assert {arguments[0] for arguments, _, _ in WRONG} >= set(verbs.VERBS)


def test_steps_for_a_person_are_the_result_not_an_error(call) -> None:
    code, out, _ = call("download", "gtav-nightrain-rerendered", "--json")
    assert code == 4
    assert any("kaggle" in step.lower() for step in json.loads(out)["steps"])
    assert call("download", "gtav-nightrain-rerendered", "--dry-run")[0] == 0


# ---------------------------------------------------------------- completion
@pytest.mark.parametrize(
    ("typed", "offers"),
    [
        ("rainrag sc", {"score"}),
        ("rainrag store qu", {"query"}),
        ("rainrag score --proto", {"--protocol"}),
        ("rainrag ingest rain100", {"rain100l", "rain100h"}),
        ("rainrag score a b --protocol matlab", {"matlab-y"}),
        ("rainrag weights fetch rest", {"restormer"}),
        ("rainrag bench --testset rain100", {"rain100l", "rain100h"}),
        ("rainrag train --recipe lap", {"laptop"}),
        ("rainrag derain x.png --model unir", {"unirain"}),
    ],
)
def test_the_shell_completes_verbs_options_and_names(typed: str, offers: set[str]) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1), "_RAINRAG_COMPLETE": "complete_bash"}
    result = CliRunner().invoke(app, [], prog_name="rainrag", env=words)
    assert set(result.output.split()) == offers


# ---------------------------------------------------------------- what the machine does to us
def test_the_systems_refusals_name_path_and_way_out(call, monkeypatch: pytest.MonkeyPatch) -> None:
    from rainrag.data import sources

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/somewhere/else")

    monkeypatch.setattr(sources, "names", refuse)
    code, _, err = call("sources")
    assert code == 3
    assert "Permission denied" in err
    assert "/somewhere/else" in err
    assert "hint:" in err


def test_memory_and_dead_workers_are_told_apart_from_our_faults(call, monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures.process import BrokenProcessPool

    from rainrag.data import sources

    for error, says in ((MemoryError(), "out of memory"), (BrokenProcessPool("x"), "a worker process died")):
        monkeypatch.setattr(sources, "names", lambda error=error: (_ for _ in ()).throw(error))
        code, _, err = call("sources")
        assert code == 3
        assert says in err
        assert "--workers 1" in err


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from rainrag.data import sources

    monkeypatch.setattr(sources, "names", lambda: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["rainrag", "sources"])
    with pytest.raises(ZeroDivisionError):
        rainrag.cli.main()


def test_a_reader_that_leaves_hears_nothing_more() -> None:
    code = "import sys; sys.argv = ['rainrag', 'sources', '--json']; import rainrag.cli; rainrag.cli.main()"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    assert child.stderr.read() == b""
    child.wait()


SLOW = """
import os, signal, sys, threading, time
from rainrag import cli
from rainrag.data import sources
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background inherits that it is ignored
sources.names = lambda: os.kill(os.getpid(), signal.SIGINT) or time.sleep(10)
sys.argv = ["rainrag", "sources"]
cli.main()
"""


def test_ctrl_c_says_how_to_go_on() -> None:
    done = subprocess.run([sys.executable, "-c", SLOW], capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGINT
    assert "run the same command again" in done.stderr
    assert "Traceback" not in done.stderr


FULL = """
import resource, sys
from rainrag import cli
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # as a full disk: writes fail beyond so many bytes
sys.argv = ["rainrag", "ingest", "folder", "--root", sys.argv[1], "--out", sys.argv[2], "--workers", sys.argv[3]]
cli.main()
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_leaves_no_half_written_file_and_can_be_gone_on_from(call, tmp_path: Path, workers: str) -> None:
    root, out = pairs(tmp_path / "in", 3), tmp_path / "out"
    arguments = [sys.executable, "-c", FULL, str(root), str(out), workers]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "cannot write" in done.stderr
    assert "free some space" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out.rglob("*.parquet"))
    assert call("ingest", "folder", "--root", str(root), "--out", str(out), "--workers", workers)[0] == 0


# ---------------------------------------------------------------- output
def test_results_go_to_stdout_and_messages_to_stderr(call, tmp_path: Path) -> None:
    root = pairs(tmp_path / "in")
    code, out, err = call(
        "ingest", "folder", "--root", str(root), "--out", str(tmp_path / "a"), "--workers", "1", "--json"
    )
    assert code == 0
    assert json.loads(out)["pairs"] == 2
    assert "done" in err
    code, out, err = call(
        "--quiet", "ingest", "folder", "--root", str(root), "--out", str(tmp_path / "b"), "--workers", "1", "--json"
    )
    assert (code, err) == (0, "")
    assert json.loads(out)["pairs"] == 2


def test_verbose_shows_where_an_error_came_from(call) -> None:
    assert "Traceback" in call("--verbose", "ingest", "nosuch")[2]


@pytest.mark.parametrize(
    ("setting", "coloured"), [({"FORCE_COLOR": "1"}, True), ({"NO_COLOR": "1"}, False), ({}, False)]
)
def test_colours_only_where_wanted(setting: dict[str, str], coloured: bool) -> None:
    clean = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "NO_COLOR", "PY_COLORS", "CLICOLOR_FORCE")}
    code = "import sys; sys.argv = ['rainrag', 'ingest', 'nosuch']; import rainrag.cli; rainrag.cli.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env={**clean, **setting}, check=False)
    assert (b"\x1b[" in done.stderr) == coloured
    assert b"error" in done.stderr


def test_lists_are_tab_separated_in_a_pipe() -> None:
    lines = CliRunner().invoke(app, ["sources"]).stdout.splitlines()
    assert all(line.count("\t") == lines[0].count("\t") for line in lines)
    assert any(line.startswith("rain100l\t") for line in lines)


def test_progress_without_a_terminal_is_a_line_now_and_then_with_the_time_left(capsys, monkeypatch) -> None:
    clock = iter([0.0, *(float(s) for s in range(1, 41)), 40.0])  # began, one a step, ended
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with console.progress("look") as advance:
        advance(-80)
        for _ in range(40):
            advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "look: 10 of 80 (10 s, about 70 s to go)"
    assert lines[1:] == [
        "look: 20 of 80 (20 s, about 60 s to go)",
        "look: 30 of 80 (30 s, about 50 s to go)",
        "look: 40 of 80 (40 s, about 40 s to go)",
        "look: 40 done in 40.0 s",
    ]


def test_an_ingest_shows_its_pairs_in_one_page(call, tmp_path: Path) -> None:
    root, page = tmp_path / "raw", tmp_path / "sheet.html"
    code, _, err = call(
        "ingest", "rendered", "--scenes", "4", "--seed", "1", "--faults", "--root", str(root),
        "--out", str(tmp_path / "out"), "--workers", "1", "--html", str(page),
    )  # fmt: skip
    assert code == 0, err
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == 8
    assert all(f"<h2>{subset}, train: " in text for subset in ("DRS", "DRD", "NRS", "NRD"))
    assert "planted: " in text
    assert "http" not in text.replace("http-equiv", "")


def test_wrong_options_are_answered_before_anything_heavy_is_imported() -> None:
    code = (
        "import sys; sys.argv = ['rainrag', 'derain', 'x.png', '--tile', 'abc']\n"
        "import rainrag.cli\n"
        "try: rainrag.cli.main()\n"
        "except SystemExit as e: assert e.code == 2, e.code\n"
        "assert not {'torch', 'numpy', 'PIL'} & set(sys.modules), sorted(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no tiling 'abc'" in done.stderr


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "about a second"),
        (1.2, "about 1 second"),
        (61, "about 61 seconds"),
        (170, "about 3 minutes"),
        (9000, "about 2.5 hours"),
    ],
)
def test_an_estimate_is_as_exact_as_it_is_known(seconds: float, said: str) -> None:
    assert console.about(seconds) == said
