"""Atomic writes, safe unpacking, locking, resumable download."""

from __future__ import annotations

import http.server
import io
import json
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rainrag.core import files
from rainrag.core.errors import InputError, IntegrityError, MissingError, RainRAGError
from rainrag.core.http import download


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    files.write_json(target, {"b": 1, "a": 2})
    before = target.read_bytes()

    def die_halfway() -> None:
        with files.atomic(target) as tmp:
            tmp.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        die_halfway()
    assert target.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.json"]
    assert list(json.loads(before)) == ["a", "b"]


def test_a_full_disk_says_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(RainRAGError, match="No space left") as e:
        files.write_text(tmp_path / "x", "y")
    assert "--out" in (e.value.hint or "")
    assert os.listdir(tmp_path) == []


def test_natural_order() -> None:
    assert sorted(["10", "2", "a10", "a9"], key=files.natural) == ["2", "10", "a9", "a10"]


def test_listing_reports_unreadable_folders_and_ends_in_cycles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"x")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "locked").mkdir()
    real = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(files.os, "scandir", scandir)
    problems: list[tuple[str, str]] = []
    assert files.listing(tmp_path, lambda p, why: problems.append((p, why))) == ["a/1.png"]
    assert problems == [("locked", "folder cannot be read: Permission denied")]
    with pytest.raises(MissingError):
        files.listing(tmp_path / "none")


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in members.items():
            z.writestr(name, data)
    return path


@pytest.mark.parametrize("name", ["../escape.png", "/abs.png", "a/../../b.png", "C:\\win.png", "..\\x.png"])
def test_paths_that_leave_the_folder_are_refused_before_a_byte_is_written(tmp_path: Path, name: str) -> None:
    archive = make_zip(tmp_path / "a.zip", {"ok.png": b"x", name: b"y"})
    with pytest.raises(InputError, match="outside"):
        files.unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip"]


def test_bombs_are_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "bomb.zip", {"zeros": bytes(100 << 20)})
    with pytest.raises(InputError, match="bomb"):
        files.unpack(archive, tmp_path / "out")


def test_a_header_that_lies_about_its_size_is_found_out(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"x": bytes(5000)})
    data = bytearray(archive.read_bytes())
    for at in range(len(data) - 4):  # both headers claim 10 bytes
        if data[at : at + 4] == (5000).to_bytes(4, "little"):
            data[at : at + 4] = (10).to_bytes(4, "little")
    archive.write_bytes(data)
    with pytest.raises(InputError):
        files.unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_and_damage_in_tars_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as t:
        link = tarfile.TarInfo("evil")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        t.addfile(link)
    with pytest.raises(InputError, match="link"):
        files.unpack(archive, tmp_path / "out")
    good = tmp_path / "b.tar.gz"
    with tarfile.open(good, "w:gz") as t:
        info = tarfile.TarInfo("d/1.png")
        info.size = 3
        t.addfile(info, io.BytesIO(b"abc"))
    assert files.unpack(good, tmp_path / "out") == 1
    assert (tmp_path / "out/d/1.png").read_bytes() == b"abc"
    cut = tmp_path / "c.zip"
    cut.write_bytes(make_zip(tmp_path / "d.zip", {"x": os.urandom(5000)}).read_bytes()[:-40])
    with pytest.raises(InputError):
        files.unpack(cut, tmp_path / "out2")


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with (
        files.lock(tmp_path / "lock"),
        pytest.raises(RainRAGError, match=str(os.getpid())),
        files.lock(tmp_path / "lock"),
    ):
        pass
    with files.lock(tmp_path / "lock"):
        pass


DATA = bytes(range(256)) * 5000


class Host(http.server.BaseHTTPRequestHandler):
    """Serves DATA with ranges; breaks the first transfer off in the middle."""

    broken = 0
    ranges: list[str] = []

    def do_GET(self) -> None:
        if self.path == "/gone":
            self.send_error(404)
            return
        start = 0
        asked = self.headers.get("Range")
        if asked:
            Host.ranges.append(asked)
            start = int(asked.split("=")[1].rstrip("-"))
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(DATA) - start))
        self.end_headers()
        body = DATA[start:]
        if Host.broken:
            Host.broken -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Host.broken, Host.ranges = 0, []
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_broken_download_goes_on_where_it_stopped(host: str, tmp_path: Path) -> None:
    Host.broken = 1
    target = tmp_path / "x.bin"
    with pytest.raises(MissingError):
        download(f"{host}/x", target)
    assert not target.exists()
    half = (tmp_path / "x.bin.part").stat().st_size
    assert 0 < half < len(DATA)
    assert download(f"{host}/x", target, files.sha256_bytes(DATA)) == files.sha256_bytes(DATA)
    assert Host.ranges == [f"bytes={half}-"]
    assert target.read_bytes() == DATA


def test_a_wrong_checksum_removes_the_file(host: str, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="expected"):
        download(f"{host}/x", tmp_path / "x", "0" * 64)
    assert os.listdir(tmp_path) == []
    with pytest.raises(MissingError, match="404"):
        download(f"{host}/gone", tmp_path / "x")


def test_archives_that_python_cannot_read_are_an_error_of_theirs(tmp_path: Path) -> None:
    good = make_zip(tmp_path / "good.zip", {"x.png": bytes(range(256)) * 20}).read_bytes()
    body = good.index(b"x.png") + 5
    damaged = good[:body] + bytes(b ^ 0xFF for b in good[body : body + 9]) + good[body + 9 :]
    (tmp_path / "deflate.zip").write_bytes(damaged)
    method = bytearray(good)
    for sign, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        method[good.index(sign) + at : good.index(sign) + at + 2] = (99).to_bytes(2, "little")
    (tmp_path / "method.zip").write_bytes(method)
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as z:
        z.writestr("a/x.png", b"one")
        with pytest.warns(UserWarning, match="Duplicate name"):
            z.writestr("a/x.png", b"two")
    for name, says in (
        ("deflate", "damaged"),
        ("method", "cannot be unpacked here"),
        ("twice", "two files of one name"),
    ):
        with pytest.raises(InputError, match=says):
            files.unpack(tmp_path / f"{name}.zip", tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_name_of_255_bytes_can_be_written_and_a_longer_one_says_so(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / ("n" * 255), b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["n" * 255]
    with pytest.raises(RainRAGError, match="cannot write") as e:
        files.write_bytes(tmp_path / ("n" * 256), b"x")
    assert "shorter name" in str(e.value)


def test_links_to_one_folder_are_each_followed_and_mazes_end(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "1.png").write_bytes(b"x")
    for name in ("a", "b"):
        (tmp_path / name).symlink_to(tmp_path / "real")
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    met: list[tuple[str, str]] = []
    assert files.listing(tmp_path, lambda *x: met.append(x)) == ["a/1.png", "b/1.png", "real/1.png"]
    assert met == [("gone.png", "a link that leads nowhere")]
    maze = tmp_path / "maze"
    for level in range(12):
        (maze / str(level)).mkdir(parents=True)
        if level:
            for name in ("x", "y"):
                (maze / str(level - 1) / name).symlink_to(maze / str(level))
    met.clear()
    assert files.listing(maze, lambda *x: met.append(x)) == []
    assert {why for _, why in met} == {"more than 64 links lead to this folder"}


@pytest.mark.parametrize("name", ["①.png", "0².png", "٣.png", "10"])
def test_any_name_has_a_natural_order(name: str) -> None:
    assert sorted([name, "a"], key=files.natural)
