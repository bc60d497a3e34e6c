"""A distillation that is killed again and again comes to the same bytes, and pays for no ballot twice."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from rainrag.core import workspace
from rainrag.distill import pipeline
from tests.distill.light import PAID, contents


def run_until(n: int | None, request: Any, out: Path) -> bool:
    """Distil in a child process that is killed (SIGKILL) at its n-th write to disk; True when it came to the end.

    A write is a flush of a file that is not yet in its place, a rename into place, or a flush of a ballot.
    """
    child = os.fork()
    if child == 0:
        seen = 0

        def dying(real: Any) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal seen
                seen += 1
                if seen == n:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)

            return call

        os.fsync, os.replace = dying(os.fsync), dying(os.replace)
        code = 1
        try:
            pipeline.make(request, out)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.waitstatus_to_exitcode(status) == 0
    return True


def test_killed_at_many_points(request_of: Any, tmp_path: Path, monkeypatch: Any) -> None:
    note = tmp_path / "bill"
    voters = f"{PAID},statistical"
    whole = tmp_path / "whole"
    pipeline.make(request_of(voters, options={"bill": str(tmp_path / "other-bill")}), whole)

    monkeypatch.setenv("RAINRAG_HOME", str(tmp_path / "again"))  # no ballots from the run before
    assert not workspace.place("cache").exists()
    out, kills = tmp_path / "killed", 0
    # Small steps first (each stage's first writes), then larger ones; every run goes on where the last one stopped.
    steps = iter([1, 2, 3, 4, 5, 7, 6, 9, 8, 11, 10, 13, *range(5, 40, 3)])
    request = request_of(voters, options={"bill": str(note)})
    while not run_until(next(steps, None), request, out):
        kills += 1
    assert kills >= 6, "the runs must really have been interrupted"
    got, want = contents(out), contents(whole)
    assert got.pop("splits.lock").replace(str(note).encode(), b"") == want.pop("splits.lock").replace(
        str(tmp_path / "other-bill").encode(), b""
    )
    assert got == want
    assert set(Counter(note.read_text().splitlines()).values()) == {1}
    assert not list(out.rglob("*.tmp"))
