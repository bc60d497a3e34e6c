"""Weights: fetched from stand-ins for the hosts, known again by their checksums, or the steps for a person."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from rainrag import baselines
from rainrag.baselines import fetch
from rainrag.baselines.card import Weights
from rainrag.core.errors import InputError, IntegrityError, MissingError, UsageError
from rainrag.core.files import sha256_file
from rainrag.core.recorded import Recorded
from rainrag.core.types import Archive


class Server:
    """Serves ``files`` by path; anything else is answered with 404 and a web page."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                body = outer.files.get(self.path)
                self.send_response(404 if body is None else 200)
                body = b"<html>no</html>" if body is None else body
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``published(archive, …)``: PRN_r's card with these weights instead of its own."""
    card_of = baselines.card_of

    def publish(*archives: Archive) -> None:
        weights = tuple(Weights(f"set{i}", ("rain100l",), a) for i, a in enumerate(archives))
        card = dataclasses.replace(card_of("prn-r"), weights=weights)
        monkeypatch.setattr(baselines, "card_of", lambda name: card if name == "prn-r" else card_of(name))

    return publish


def weights_file(path: Path, name: str = "prn-r", seed: int = 0) -> bytes:
    """A file of a network as the authors save it."""
    torch.manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(baselines.create(name).state_dict(), path)
    return path.read_bytes()


def hosts(tmp_path: Path) -> fetch.Hosts:
    return fetch.Hosts(Recorded(tmp_path / "checksums.json"), lambda repository: "c" * 40)


# ---------------------------------------------------------------- direct: releases and files in a repository
def test_the_checksum_is_recorded_at_first_and_checked_after(server: Server, published: Any, tmp_path: Path) -> None:
    server.files["/v1/net.pth"] = weights_file(tmp_path / "a.pth")
    published(Archive("direct", f"{server.url}/v1/net.pth"))
    found = fetch.fetch("prn-r", None, tmp_path / "w", hosts(tmp_path))
    assert [(f.tag, f.status, f.loads) for f in found] == [("set0", "recorded", True)]
    assert found[0].path == tmp_path / "w" / "set0" / "net.pth"
    assert Recorded(tmp_path / "checksums.json").known == {"prn-r/set0/net.pth": sha256_file(tmp_path / "a.pth")}

    again = fetch.fetch("prn-r", None, tmp_path / "w", hosts(tmp_path))  # is there: not asked for again
    assert again[0].sha256 == found[0].sha256
    assert server.asked == ["/v1/net.pth"]

    found[0].path.unlink()
    server.files["/v1/net.pth"] = weights_file(tmp_path / "b.pth", seed=1)
    with pytest.raises(IntegrityError, match="at first use it was"):
        fetch.fetch("prn-r", None, tmp_path / "w", hosts(tmp_path))


def test_a_published_checksum_is_checked_at_once(server: Server, published: Any, tmp_path: Path) -> None:
    server.files["/net.pth"] = weights_file(tmp_path / "a.pth")
    published(Archive("direct", f"{server.url}/net.pth", sha256="0" * 64))
    with pytest.raises(IntegrityError):
        fetch.fetch("prn-r", None, tmp_path / "w", hosts(tmp_path))
    assert not (tmp_path / "w" / "set0" / "net.pth").exists()
    published(Archive("direct", f"{server.url}/net.pth", sha256=sha256_file(tmp_path / "a.pth")))
    assert fetch.fetch("prn-r", None, tmp_path / "w", hosts(tmp_path))[0].status == "published"


@pytest.mark.parametrize("body", [b"<html>quota exceeded</html>", b""])
def test_a_web_page_in_the_files_place_is_never_recorded(
    body: bytes, server: Server, published: Any, tmp_path: Path
) -> None:
    server.files["/net.pth"] = body
    published(Archive("direct", f"{server.url}/net.pth", "net.pth"))
    with pytest.raises(InputError, match="is no weights file of 'prn-r'") as caught:
        fetch.fetch("prn-r", None, tmp_path / "w", hosts(tmp_path))
    assert "remove it and fetch again" in str(caught.value)
    assert not (tmp_path / "checksums.json").exists()


def test_weights_of_another_network_are_not_recorded(server: Server, published: Any, tmp_path: Path) -> None:
    server.files["/net.pth"] = weights_file(tmp_path / "a.pth", "prn")
    published(Archive("direct", f"{server.url}/net.pth", "net.pth"))
    with pytest.raises(InputError, match="belong to another network"):
        fetch.fetch("prn-r", None, tmp_path / "w", hosts(tmp_path))
    assert not (tmp_path / "checksums.json").exists()


def test_what_the_server_refuses_comes_with_the_steps_by_hand(server: Server, published: Any, tmp_path: Path) -> None:
    published(Archive("direct", f"{server.url}/gone.pth"))
    with pytest.raises(MissingError, match="404") as caught:
        fetch.fetch("prn-r", None, tmp_path / "w", hosts(tmp_path))
    assert f"1. open in a browser: {server.url}/gone.pth" in str(caught.value)
    assert f"3. rainrag weights check {tmp_path}/w/set0/FILE prn-r" in str(caught.value)


# ---------------------------------------------------------------- Google Drive and the Hub
def test_drive_gives_a_file_or_a_folder(monkeypatch: pytest.MonkeyPatch, published: Any, tmp_path: Path) -> None:
    gdown = ModuleType("gdown")
    calls: list[dict[str, Any]] = []

    def download(**options: Any) -> None:
        calls.append(options)
        weights_file(Path(options["output"]))

    def download_folder(**options: Any) -> None:
        calls.append(options)
        weights_file(Path(options["output"]) / "inner" / "one.pth")
        (Path(options["output"]) / "readme.txt").write_text("no weights")

    gdown.download, gdown.download_folder = download, download_folder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gdown", gdown)
    published(Archive("gdrive", "FILE-ID", "net.pth"), Archive("gdrive", "FOLDER-ID"))
    found = fetch.fetch("prn-r", "all", tmp_path / "w", hosts(tmp_path))
    assert [c["id"] for c in calls] == ["FILE-ID", "FOLDER-ID"]
    assert [f.path.relative_to(tmp_path / "w").as_posix() for f in found] == ["set0/net.pth", "set1/inner/one.pth"]
    assert set(Recorded(tmp_path / "checksums.json").known) == {"prn-r/set0/net.pth", "prn-r/set1/inner/one.pth"}


def test_drive_that_refuses_gives_the_steps(monkeypatch: pytest.MonkeyPatch, published: Any, tmp_path: Path) -> None:
    gdown = ModuleType("gdown")

    def download(**options: Any) -> None:
        raise RuntimeError("too many users have viewed this file")

    gdown.download = download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gdown", gdown)
    published(Archive("gdrive", "FILE-ID", "net.pth"))
    with pytest.raises(MissingError, match="too many users") as caught:
        fetch.fetch("prn-r", None, tmp_path / "w", hosts(tmp_path))
    assert "https://drive.google.com/open?id=FILE-ID" in str(caught.value)


def test_without_gdown_it_says_which_extra(monkeypatch: pytest.MonkeyPatch, published: Any, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    published(Archive("gdrive", "FILE-ID", "net.pth"))
    with pytest.raises(MissingError, match="gdown") as caught:
        fetch.fetch("prn-r", None, tmp_path / "w", hosts(tmp_path))
    assert "rainrag[drive]" in str(caught.value)


def test_the_hubs_files_come_at_the_pinned_commit(
    monkeypatch: pytest.MonkeyPatch, published: Any, tmp_path: Path
) -> None:
    import huggingface_hub as hub

    def hf_hub_download(repository: str, name: str, *, revision: str, local_dir: Path) -> str:
        assert (repository, revision) == ("someone/prn", "c" * 40)
        weights_file(Path(local_dir) / name)
        return name

    monkeypatch.setattr(hub, "list_repo_files", lambda repository, revision: ["README.md", "deep/net.pth"])
    monkeypatch.setattr(hub, "hf_hub_download", hf_hub_download)
    published(Archive("hub", "someone/prn"))
    found = fetch.fetch("prn-r", None, tmp_path / "w", hosts(tmp_path))
    assert [f.path for f in found] == [tmp_path / "w" / "set0" / "deep" / "net.pth"]


def test_other_hosts_are_for_a_person(published: Any, tmp_path: Path) -> None:
    published(Archive("baidu", "https://pan.baidu.com/s/1x", password="rcds"))
    with pytest.raises(MissingError, match="by hand") as caught:
        fetch.fetch("prn-r", None, tmp_path / "w", hosts(tmp_path))
    assert "https://pan.baidu.com/s/1x (code rcds)" in str(caught.value)


# ---------------------------------------------------------------- which weights
def test_several_sets_need_a_tag_and_refused_ones_say_why(tmp_path: Path) -> None:
    card = baselines.card_of("prenet")
    with pytest.raises(UsageError, match="3 sets") as caught:
        fetch.choose(card, None)
    assert "rain100l, rain100h, rain1400 or all" in str(caught.value)
    with pytest.raises(InputError, match="residual blocks before the LSTM"):
        fetch.choose(card, "real-prenet1")
    with pytest.raises(UsageError, match="rain100"):
        fetch.choose(card, "rain100k")
    with pytest.raises(MissingError, match="were published"):
        fetch.choose(baselines.card_of("pigwm"), None)
    assert not any(w.refused for w in fetch.choose(card, fetch.ALL))


# ---------------------------------------------------------------- what is available locally
def test_listing_tells_recorded_unknown_and_changed(server: Server, published: Any, tmp_path: Path) -> None:
    root = tmp_path / "weights"
    server.files["/net.pth"] = weights_file(tmp_path / "a.pth")
    published(Archive("direct", f"{server.url}/net.pth"))
    fetch.fetch("prn-r", None, root / "prn-r", hosts(tmp_path))
    weights_file(root / "prn-r" / "mine" / "own.pth", seed=5)
    recorded = Recorded(tmp_path / "checksums.json")
    assert {f.path.name: f.status for f in fetch.listing(root, recorded)} == {
        "net.pth": "recorded",
        "own.pth": "unknown",
    }
    weights_file(root / "prn-r" / "set0" / "net.pth", seed=6)
    assert {f.path.name: f.status for f in fetch.listing(root, recorded)}["net.pth"] == "changed"


def test_check_knows_a_file_by_its_content(server: Server, published: Any, tmp_path: Path) -> None:
    server.files["/net.pth"] = weights_file(tmp_path / "a.pth")
    published(Archive("direct", f"{server.url}/net.pth"))
    fetch.fetch("prn-r", None, tmp_path / "w", hosts(tmp_path))
    recorded = Recorded(tmp_path / "checksums.json")
    (tmp_path / "moved.pth").write_bytes(server.files["/net.pth"])
    found, weights = fetch.check("prn-r", tmp_path / "moved.pth", recorded)
    assert found.status == "recorded"
    assert weights is not None
    assert weights.tag == "set0"
    weights_file(tmp_path / "own.pth", seed=9)
    found, weights = fetch.check("prn-r", tmp_path / "own.pth", recorded)
    assert (found.status, found.loads, weights) == ("unknown", True, None)
    with pytest.raises(InputError, match="another network"):
        fetch.check("prenet", tmp_path / "own.pth", recorded)
    with pytest.raises(MissingError, match="no such weights file"):
        fetch.check("prn-r", tmp_path / "none.pth", recorded)
