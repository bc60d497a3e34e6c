"""rainrag download against a stand-in host: resume, checksums at first use, mirrors, unsafe archives, steps for a person."""

from __future__ import annotations

import http.server
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rainrag.core import images
from rainrag.core.errors import InputError, IntegrityError, MissingError
from rainrag.core.files import sha256_bytes
from rainrag.core.types import Archive, Source
from rainrag.data import download, sources
from tests.conftest import picture, rainy


class Host(http.server.BaseHTTPRequestHandler):
    """Serves ``files`` by path, with ranges; ``cut`` transfers break off in the middle."""

    files: dict[str, bytes] = {}
    cut = 0
    asked: list[str] = []

    def do_GET(self) -> None:
        Host.asked.append(self.path)
        body = self.files.get(self.path.split("?")[0])
        if body is None:
            self.send_error(404)
            return
        start = int((self.headers.get("Range") or "bytes=0-").split("=")[1].rstrip("-"))
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if Host.cut:
            Host.cut -= 1
            self.wfile.write(body[start : start + (len(body) - start) // 2])
        else:
            self.wfile.write(body[start:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Host.files, Host.cut, Host.asked = {}, 0, []
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def packed(*, seed: int = 0, name: str = "Set/{side}/{i}.png") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for i in range(2):
            clean = picture(seed + i)
            for side, rgb in (("input", rainy(clean)), ("target", clean)):
                z.writestr(name.format(side=side, i=i), images.encode_png(rgb))
    return out.getvalue()


def of(*archives: Archive) -> Source:
    return replace(sources.get("folder"), name="drizzle", title="Drizzle", archives=archives)


def names(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_a_broken_transfer_goes_on_and_the_set_can_be_ingested(host: str, tmp_path: Path) -> None:
    Host.files["/drizzle.zip"] = data = packed()
    source = of(Archive("direct", f"{host}/drizzle.zip", "drizzle.zip"))
    Host.cut = 1
    with pytest.raises(MissingError, match="could not be fetched"):
        download.fetch(source, tmp_path)
    half = (tmp_path / "archives/drizzle.zip.part").stat().st_size
    assert 0 < half < len(data)
    seen: list[int] = []
    assert download.fetch(source, tmp_path, seen.append) == ["drizzle.zip"]
    assert seen[0] == -len(data)
    assert sum(seen[1:]) == len(data)
    assert {"Set/input/0.png", "Set/target/1.png"} <= names(tmp_path)
    assert json.loads((tmp_path / "checksums.json").read_text()) == {"drizzle.zip": sha256_bytes(data)}
    Host.asked.clear()
    download.fetch(source, tmp_path)
    assert Host.asked == []  # nothing is fetched twice


def test_a_file_that_the_host_changed_is_noticed(host: str, tmp_path: Path) -> None:
    source = of(Archive("direct", f"{host}/drizzle.zip", "drizzle.zip"))
    Host.files["/drizzle.zip"] = packed()
    download.fetch(source, tmp_path)
    (tmp_path / "archives/drizzle.zip").unlink()
    Host.files["/drizzle.zip"] = packed(seed=7)
    with pytest.raises(IntegrityError, match="at first use it was"):
        download.fetch(source, tmp_path)


def test_a_published_checksum_counts_from_the_first_download(host: str, tmp_path: Path) -> None:
    Host.files["/drizzle.zip"] = packed()
    with pytest.raises(IntegrityError, match="expected"):
        download.fetch(of(Archive("direct", f"{host}/drizzle.zip", "drizzle.zip", sha256="0" * 64)), tmp_path)
    assert names(tmp_path) == set()


def test_the_next_mirror_is_tried_when_one_is_gone_or_sends_a_page(host: str, tmp_path: Path) -> None:
    Host.files["/page.zip"] = b"<!doctype html><title>This file has moved</title>"
    Host.files["/good.zip"] = packed()
    gone = Archive("direct", f"{host}/gone.zip", "gone.zip")
    page = Archive("direct", f"{host}/page.zip", "page.zip")
    with pytest.raises(MissingError, match="no archive: 49 bytes that begin with b'<!doctype"):
        download.fetch(of(gone, page), tmp_path)
    assert not (tmp_path / "checksums.json").exists()
    assert download.fetch(of(gone, page, Archive("direct", f"{host}/good.zip", "good.zip")), tmp_path) == ["good.zip"]


def test_parts_are_fetched_together_or_not_at_all(host: str, tmp_path: Path) -> None:
    first = Archive("direct", f"{host}/train.zip", "train.zip")
    second = Archive("direct", f"{host}/test.zip", "test.zip", part=True)
    byhand = Archive("baidu", "https://example.org/x", "test.zip", part=True, password="ab12")
    assert download.mirrors(of(first, second)) == [[first, second]]
    assert download.mirrors(of(first, byhand)) == []
    Host.files = {"/train.zip": packed(name="t/{side}/{i}.png"), "/test.zip": packed(name="e/{side}/{i}.png")}
    assert download.fetch(of(first, second), tmp_path) == ["train.zip", "test.zip"]
    assert {"t/input/0.png", "e/input/0.png"} <= names(tmp_path)


@pytest.mark.parametrize("name", ["../{side}{i}.png", "/tmp/{side}{i}.png", "C:\\{side}{i}.png"])
def test_archives_that_leave_their_folder_are_refused(host: str, tmp_path: Path, name: str) -> None:
    Host.files["/evil.zip"] = packed(name=name)
    with pytest.raises(InputError, match="outside its folder"):
        download.fetch(of(Archive("direct", f"{host}/evil.zip", "evil.zip")), tmp_path / "out")
    assert names(tmp_path) == {"out/archives/evil.zip", "out/checksums.json"}


def test_zenodo_records(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ZENODO", host)
    record = {"files": [{"key": n, "links": {"self": f"{host}/{n}"}} for n in ("drizzle.zip", "notes.txt")]}
    Host.files = {"/api/records/42": json.dumps(record).encode(), "/drizzle.zip": packed(), "/notes.txt": b"hello"}
    assert download.fetch(of(Archive("zenodo", "42")), tmp_path) == ["drizzle.zip", "notes.txt"]
    assert set(json.loads((tmp_path / "checksums.json").read_text())) == {"drizzle.zip", "notes.txt"}
    Host.files["/api/records/42"] = b"<html>"
    with pytest.raises(MissingError, match="Zenodo record 42"):
        download.fetch(of(Archive("zenodo", "42")), tmp_path / "other")


HUB = """
import sys
from dataclasses import replace
from pathlib import Path
from rainrag.data import download, sources
from rainrag.core.types import Archive
source = replace(sources.get("folder"), name="drizzle", archives=(Archive("hub", "someone/drizzle"),))
download.fetch(source, Path(sys.argv[1]))
"""


def test_hub_repositories_keep_the_revision_of_the_first_use(host: str, tmp_path: Path) -> None:
    import hashlib

    data, old, new = b"a,b\n1,2\n", "a" * 40, "b" * 40
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def publish(sha: str) -> None:
        about = {"id": "someone/drizzle", "sha": sha, "siblings": [{"rfilename": "list.csv"}], "tags": []}
        here = json.dumps(about).encode()
        leaf = json.dumps([{"type": "file", "path": "list.csv", "size": len(data), "oid": blob}]).encode()
        Host.files |= {
            "/api/datasets/someone/drizzle": here,
            f"/api/datasets/someone/drizzle/revision/{sha}": here,
            f"/api/datasets/someone/drizzle/tree/{sha}": leaf,
            f"/datasets/someone/drizzle/resolve/{sha}/list.csv": data,
        }

    def fetch(out: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "HF_ENDPOINT": host, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hf")}
        call = [sys.executable, "-c", HUB, str(tmp_path / out)]
        return subprocess.run(call, env=env, capture_output=True, text=True, check=False)

    class Head(Host):
        def do_HEAD(self) -> None:
            body = Host.files.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.send_header("ETag", f'"{blob}"')
            self.send_header("X-Repo-Commit", self.path.split("/resolve/")[-1].split("/")[0])
            self.end_headers()

    Host.do_HEAD = Head.do_HEAD  # type: ignore[attr-defined]
    publish(old)
    first = fetch("out")
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "out/list.csv").read_bytes() == data
    publish(new)  # the repository goes on; the recorded revision is still there
    again = fetch("out")
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "out/checksums.json").read_text()) == {"hub:someone/drizzle": old}
    Host.files.clear()
    gone = fetch("other")
    assert gone.returncode == 1
    assert "cannot be fetched" in gone.stderr


def test_a_person_gets_exact_steps(tmp_path: Path) -> None:
    lines = download.steps(sources.get("hq-nightrain"), tmp_path)
    text = "\n".join(lines)
    for archive in sources.get("hq-nightrain").archives:
        assert archive.ref in text
        assert archive.password is None or archive.password in text
    assert lines[-1] == f"- then: rainrag ingest hq-nightrain --root {tmp_path}"
    assert "no address" in download.steps(of(), tmp_path)[0]


def test_google_drive_goes_through_gdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    data = packed()
    asked: list[str] = []

    def give(id: str, output: str, **_: object) -> None:
        asked.append(id)
        Path(output).write_bytes(data)

    monkeypatch.setitem(sys.modules, "gdown", SimpleNamespace(download=give))
    drive = Archive("gdrive", "someid", "drizzle.zip")
    assert download.fetch(of(drive), tmp_path) == ["drizzle.zip"]
    assert (asked, "Set/input/0.png" in names(tmp_path)) == (["someid"], True)
    data = b"<html>Too many users have viewed or downloaded this file recently</html>"
    with pytest.raises(MissingError, match="Too many users"):
        download.fetch(of(drive), tmp_path / "other")
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(MissingError, match="needs the package gdown"):
        download.fetch(of(drive), tmp_path / "third")
