"""verify, the probe, the report and the commands, in the small world."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rainrag.cli import app
from rainrag.core.errors import MissingError, RainRAGError
from rainrag.core.files import read_json, write_json
from rainrag.distill import pipeline
from rainrag.reports import distill as reporting
from rainrag.retrieval.store import Store
from rainrag.voters.voting import AbstentionError
from tests.core.openai_server import Script, completion, serving
from tests.distill.light import PAID, build_dataset, contents

run = CliRunner().invoke


# ---------------------------------------------------------------- verify
def test_verify_says_the_same_and_what_differs(request_of: Any, world: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = request_of(f"descriptor,{PAID}", quota=5)
    pipeline.make(asked, out)
    before = contents(out)
    again = pipeline.Request(asked.data, asked.store, engine="inline")  # settings and voters are the lock's
    assert pipeline.verify(out, again) == []
    assert contents(out) == before

    lock = read_json(out / "splits.lock")
    gone = lock["splits"]["DRS"]["train"].pop(0)
    lock["settings"]["audit_share"] = 0.5
    write_json(out / "splits.lock", lock)
    shard = next(out.glob("data/rejected/*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    found = pipeline.verify(out, again)
    assert any("DRS/train" in f and gone[0] in f for f in found)
    assert any(f.startswith(str(shard.relative_to(out))) for f in found)

    fewer = pipeline.Request(asked.data[:1], asked.store, engine="inline")
    assert any("source free: missing now" in f for f in pipeline.verify(out, fewer))
    with pytest.raises(MissingError, match=r"no splits\.lock"):
        pipeline.verify(tmp_path / "nothing", again)


# ---------------------------------------------------------------- probe
def test_the_probe_counts_and_measures(request_of: Any, tmp_path: Path) -> None:
    bill = tmp_path / "bill"
    paid, *_ = PAID.split(",")
    request = request_of(
        f"descriptor,features,{paid},endpoint:gone@http://127.0.0.1:9/v1", options={"bill": str(bill), "retries": 0}
    )
    found = pipeline.probe(request, seconds=0.2)
    assert found["pairs"] == 33
    assert found["images"] == 66
    assert found["bytes"] == sum(p.stat().st_size for d in request.data for p in d.rglob("*.parquet"))
    stages = {s["stage"]: s for s in found["stages"]}
    assert list(stages) == [
        "examine",
        "vote: descriptor",
        "vote: features",
        "vote: one",
        "vote: endpoint:gone",
    ]
    assert stages["examine"]["hours"] == pytest.approx(33 * stages["examine"]["seconds_a_pair"] / 3600)
    assert stages["vote: descriptor"]["calls"] == 0
    assert 0 < stages["vote: one"]["calls"] <= 33
    assert stages["vote: endpoint:gone"]["hours"] is None
    assert "cannot vote here" in stages["vote: endpoint:gone"]["note"]
    assert found["hours"] is None, "the sum is unknown where a part is"
    # what the probe paid for, the run does not pay for again
    asked = bill.read_text().splitlines()
    assert 0 < len(asked) <= 16
    request.voters, request.options = f"descriptor,features,{paid}", {"bill": str(bill)}
    pipeline.make(request, tmp_path / "out")
    lines = bill.read_text().splitlines()
    assert len(lines) == len(set(lines))


# ---------------------------------------------------------------- report
class Page(HTMLParser):
    """Counts elements and notes what a page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images = 0
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "img":
            self.images += 1
            assert given["alt"]
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)
        self.loads += [v for k, v in given.items() if k in ("src", "href") and v and not v.startswith("data:")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_file_with_everything(request_of: Any, world: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = pipeline.make(request_of(PAID, audit_share=0.5), out)
    assert reporting.write(tmp_path / "r.html", out, Store.open(world / "store")) is None
    text = (tmp_path / "r.html").read_text()
    page = Page(text)
    assert page.open == []
    assert page.loads == []
    assert f"{summary.agreement['items']} pairs, Fleiss&#x27; kappa {summary.agreement['kappa']:.3f}" in text
    for title in ("Kept", "Contested", "Rejected by the vote", "Unsound pairs"):
        assert re.search(rf"<h2>{title} \(\d+ shown\)", text), title
    assert f'<td class="n">{summary.kept}</td>' in text
    assert "gate:wrong-target" in text
    assert "digit" in text, "ballots are shown with what the voter said"
    with_store = page.images
    why = reporting.write(tmp_path / "r.html", out, None)
    assert why
    assert 0 < Page((tmp_path / "r.html").read_text()).images < with_store
    with pytest.raises(MissingError):
        reporting.write(tmp_path / "r.html", world, None)


# ---------------------------------------------------------------- the commands
def test_the_commands_from_distill_to_push(world: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    data = [str(world / "data" / n) for n in ("closed", "free")]
    rest = ["--store", str(world / "store"), "--engine", "inline"]
    # Toy rain is not like rain: the shipped voters would keep none of it.
    panel = ["--voters", "descriptor,features,naturalness", "--decide", "majority", "--alpha", "0.2"]
    made = run(app, ["distill", *data, *rest, *panel, "--quota", "6", "--out", out, "--json"])
    assert made.exit_code == 0, made.output
    summary = json.loads(made.stdout)
    assert summary["candidates"] == 29
    assert summary["splits"]["DRS"]["train"] == 6
    assert summary["unused"] == {"quota": summary["unused"]["quota"]}
    same = run(app, ["verify", out, "--data", data[0], "--data", data[1], *rest, "--json"])
    assert (same.exit_code, json.loads(same.stdout)["same"]) == (0, True)
    other = run(app, ["verify", out, "--data", data[0], *rest, "--json"])
    assert other.exit_code == 5
    assert json.loads(other.stdout)["differences"]
    shown = run(app, ["report", out, "--store", str(world / "store")])
    assert shown.stdout.strip() == f"{out}/report.html"
    parcel = run(app, ["push", out, "me/rain", "--dry-run", "--json"])
    assert json.loads(parcel.stdout)["rows_with_pixels"].keys() == {"free"}
    costs = run(app, ["distill", *data, *rest, *panel, "--dry-run", "--json"])
    assert json.loads(costs.stdout)["pairs"] == 29


def test_an_endpoint_judges_and_is_not_asked_again(world: Path, tmp_path: Path) -> None:
    """The path of a language model through the whole command: three models of one server, as the paper's three."""
    script = Script(models=["a", "b", "c"])
    data = build_dataset(tmp_path, "few", train=4, first=40)
    with serving(script) as server:
        voters = ",".join(f"endpoint:{m}@{server.url}" for m in "abc")
        call = ["distill", str(data), "--store", str(world / "store"), "--engine", "inline", "--voters", voters]
        first = run(
            app, [*call, "--audit-share", "0", "--set", "concurrency=2", "--out", str(tmp_path / "a"), "--json"]
        )
        assert first.exit_code == 0, first.output
        n = json.loads(first.stdout)["asked"]
        assert n["endpoint:a"] == n["endpoint:b"] == 4
        assert n["endpoint:c"] < 4, "two that agree decide"
        asked = len(script.bodies)
        assert asked == sum(n.values())
        assert all(len(b["messages"][0]["content"]) > 4 for b in script.bodies), "references and candidate are shown"
        again = run(
            app, [*call, "--audit-share", "0", "--set", "concurrency=1", "--out", str(tmp_path / "b"), "--json"]
        )
        assert json.loads(again.stdout)["kept"] == json.loads(first.stdout)["kept"]
        assert len(script.bodies) == asked, "how fast a server is asked changes no ballot"
        run(app, [*call, "--audit-share", "0", "--set", "band=0.2", "--out", str(tmp_path / "c")])
        assert len(script.bodies) > asked, "another band is another question"


def test_a_voter_that_abstains_on_everything_stops_the_run(world: Path, tmp_path: Path) -> None:
    """Not a corpus rejected with exit 0; once the server is mended, the same command goes on."""
    script = Script(models=["a"], usual=lambda body: (200, {}, {"choices": []}))
    data = build_dataset(tmp_path, "few", train=4, first=50)
    with serving(script) as server:
        call = ["distill", str(data), "--store", str(world / "store"), "--engine", "inline", "--json"]
        call += ["--voters", f"endpoint:a@{server.url}", "--set", "band=0", "--out", str(tmp_path / "a")]
        stopped = run(app, call)
        assert isinstance(stopped.exception, AbstentionError)
        assert stopped.exception.exit_code == 3
        assert "abstained on 4 of its first 4 questions" in stopped.exception.what
        allowed = json.loads(run(app, [*call[:-1], str(tmp_path / "b"), "--allow-abstentions"]).stdout)
        assert allowed["answers"] == {"endpoint:a": {"yes": 0, "no": 0, "abstain": 4}}
        assert allowed["rejected"] == {"abstained": 4}
        script.usual = Script().usual
        mended = json.loads(run(app, call).stdout)
        assert mended["answers"]["endpoint:a"]["abstain"] == 0


def test_no_file_holds_the_key_that_a_server_repeats(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-0123456789-abcdefghij"
    monkeypatch.setenv("RAINRAG_API_KEY", key)
    hidden = base64.b64encode(f"user:{key}".encode()).decode()
    script = Script(models=["a"], usual=lambda body: (200, {}, completion(None, f"False, {key} {hidden}")))
    data = build_dataset(tmp_path, "few", train=2, first=60)
    with serving(script) as server:
        out = tmp_path / "out"
        call = ["distill", str(data), "--store", str(world / "store"), "--engine", "inline", "--out", str(out)]
        done = run(app, [*call, "--voters", f"endpoint:a@{server.url}", "--set", "logprobs=false"])
        assert done.exit_code == 0, done.output
    said = {r["raw"] for path in out.rglob("ballots/**/*.parquet") for r in pq.read_table(path).to_pylist()}
    assert any("***" in raw for raw in said)
    texts = [str(pq.read_table(p).to_pylist()).encode() for p in out.rglob("*.parquet")]
    texts += [p.read_bytes() for p in out.rglob("*") if p.is_file() and p.suffix != ".parquet"]
    for secret in (key.encode(), hidden.encode()[8:-8]):
        assert not any(secret in t for t in texts)
        assert secret.decode() not in done.output


def test_a_model_of_this_machine_judges(world: Path, tmp_path: Path) -> None:
    tiny = pytest.importorskip("tests.voters.tiny")
    model = tiny.llava(tmp_path / "tiny-llava")
    data = build_dataset(tmp_path, "few", train=2, first=40)
    made = run(
        app, ["distill", str(data), "--store", str(world / "store"), "--engine", "inline", "--voters", f"llava={model}",
              "--set", "dtype=fp32", "--set", "least-mass=0", "--out", str(tmp_path / "out"), "--json"],
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["asked"] == {"llava=tiny-llava": 2}
    lock = read_json(tmp_path / "out" / "splits.lock")
    assert lock["voters"][0]["revision"].startswith("local-")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 4),
        (["--set", "rpm"], 2),
        (["--set", "alpha=0.3"], 2),
        (["--voters", "nobody", "DATA"], 2),
        (["--k1", "2"], 2),
        (["--set", "colour=blue", "DATA"], 2),
        (["--engine", "spark", "DATA"], 2),
    ],
)
def test_mistakes_have_a_way_out(world: Path, words: list[str], code: int) -> None:
    named = [str(world / "data" / "free"), "--store", str(world / "store")]
    words = [x for w in words for x in (named if w == "DATA" else [w])]
    done = run(app, ["distill", *words])
    assert getattr(done.exception, "exit_code", done.exit_code) == code
    assert isinstance(done.exception, RainRAGError), "no traceback for a mistake"
