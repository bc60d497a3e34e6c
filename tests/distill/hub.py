"""A stand-in for the Hub: dataset repositories in memory, by the HTTP calls that huggingface_hub makes to write."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Hub:
    """What the server holds and saw.

    Args:
        token: the one that may write.
        commits_left: commits that succeed before the server breaks; None for all.
    """

    token: str = "right"
    commits_left: int | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)  # by sha256, whether committed or not
    uploads: list[str] = field(default_factory=list)
    commits: list[list[str]] = field(default_factory=list)
    repo: str = ""
    url: str = ""

    def tree(self) -> list[dict[str, Any]]:
        """Files as the Hub lists them."""
        found = []
        for path, data in sorted(self.files.items()):
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": _blob(data)}
            if path.endswith(".parquet"):
                sha = hashlib.sha256(data).hexdigest()
                entry |= {"oid": _blob(sha.encode()), "lfs": {"oid": sha, "size": len(data), "pointerSize": 130}}
            found.append(entry)
        return found

    def commit(self, lines: list[dict[str, Any]]) -> None:
        """Apply a commit."""
        names = []
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[value["path"]] = self.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del self.files[value["path"]]
            else:
                continue
            names.append(value["path"])
        self.commits.append(names)


def _blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@contextmanager
def serving() -> Iterator[Hub]:
    """Run a hub on a free port in a thread."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            return

        def answer(self, body: Any, status: int = 200) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(data)

        def body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def do_GET(self) -> None:
            if "/tree/" in self.path:
                self.answer(hub.tree())
            elif self.path.startswith("/api/datasets/"):
                self.answer({"id": hub.repo, "sha": "0" * 40, "siblings": [], "private": False})
            else:
                self.answer({"error": "not found"}, 404)

        def do_PUT(self) -> None:
            sha = self.path.rsplit("/", 1)[1]
            data = self.body()
            assert hashlib.sha256(data).hexdigest() == sha
            hub.large[sha] = data
            hub.uploads.append(sha)
            self.answer({})

        def do_POST(self) -> None:
            data = self.body()
            if self.headers.get("Authorization") != f"Bearer {hub.token}":
                self.answer({"error": "Invalid credentials"}, 401)
            elif self.path == "/api/repos/create":
                asked = json.loads(data)
                hub.repo = f"{asked.get('organization', 'me')}/{asked['name']}"
                self.answer({"url": f"{hub.url}/datasets/{hub.repo}", "name": hub.repo})
            elif "/preupload/" in self.path:
                files = [
                    {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(".parquet") else "regular",
                     "shouldIgnore": False, "oid": None}
                    for f in json.loads(data)["files"]
                ]  # fmt: skip
                self.answer({"files": files})
            elif self.path.endswith("/info/lfs/objects/batch"):
                objects = []
                for o in json.loads(data)["objects"]:
                    send = {"actions": {"upload": {"href": f"{hub.url}/lfs/{o['oid']}"}}}
                    objects.append({**o, **({} if o["oid"] in hub.large else send)})
                self.answer({"transfer": "basic", "objects": objects})
            elif "/commit/" in self.path:
                if hub.commits_left == 0:
                    self.answer({"error": "the disk is full"}, 507)
                    return
                hub.commits_left = None if hub.commits_left is None else hub.commits_left - 1
                hub.commit([json.loads(line) for line in data.splitlines()])
                self.answer({"commitUrl": f"{hub.url}/datasets/{hub.repo}/commit/{'0' * 40}", "commitOid": "0" * 40})
            elif re.search("validate-yaml", self.path):
                self.answer({"errors": [], "warnings": []})
            else:
                self.answer({"error": f"no such call: {self.path}"}, 404)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
