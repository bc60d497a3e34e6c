"""Worker processes say why they cannot begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rainrag.core.errors import MissingError
from rainrag.core.jobs.local import Local
from rainrag.core.jobs.stage import Shard


class Lacking:
    """A stage whose model is not available locally."""

    name, version, isolated = "lacking", 1, True

    def settings(self) -> dict[str, Any]:
        return {}

    def setup(self) -> None:
        raise MissingError("no server", where="http://nowhere", hint="start it")

    def run(self, shard: Shard, out: Path) -> dict[str, Any]:
        raise AssertionError("never")


def test_what_a_worker_lacks_is_said_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no server") as e:
        list(Local(workers=1).map(Lacking(), [Shard("a", (1,))], tmp_path))
    assert (e.value.where, e.value.hint) == ("http://nowhere", "start it")
