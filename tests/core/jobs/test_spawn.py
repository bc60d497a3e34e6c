"""Scripts that call the API at their top work: workers do not run them again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
from pathlib import Path
import rainrag
print("began")
report = rainrag.ingest_folder("pairs", "data", subset="DRS", workers=2)
print(report.pairs)
"""

OWN_STAGE = """
from dataclasses import dataclass
from pathlib import Path
from rainrag.core.jobs import create
from rainrag.core.jobs.stage import Shard

@dataclass
class Count:
    name: str = "count"
    version: int = 1
    def settings(self): return {}
    def setup(self): pass
    def run(self, shard, out): return {"rows": len(shard.rows)}

if __name__ == "__main__":
    shards = [Shard(str(i), (1, 2, 3)) for i in range(3)]
    print(sorted((name, record["rows"]) for name, record, _ in create("local", workers=2).map(Count(), shards, Path("."))))
"""


def run(script: str, place: Path) -> str:
    (place / "script.py").write_text(script)
    done = subprocess.run([sys.executable, "script.py"], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_script_without_a_guard_runs_once(tmp_path: Path, write_pairs) -> None:
    write_pairs(tmp_path / "pairs", 3)
    assert run(SCRIPT, tmp_path).split() == ["began", "3"]


def test_a_stage_of_the_script_itself_is_found(tmp_path: Path) -> None:
    assert run(OWN_STAGE, tmp_path).strip() == "[('0', 3), ('1', 3), ('2', 3)]"
