"""Poll: one voter over the undecided pairs of one examined file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rainrag.core.jobs.stage import Shard
from rainrag.core.parquet import read_table, write_table
from rainrag.core.types import Ballot, Question, Shown, Voter
from rainrag.distill.examine import VERSION, read_images
from rainrag.retrieval.store import Store
from rainrag.voters import voting

BATCH = 8  # questions put to a voter at once, unless it says otherwise: what a kill can cost

BALLOT_FORM = {
    "key": "string", "voter": "string", "revision": "string", "prompt": "string", "references": "strings",
    "answer": "string", "p_yes": "float64", "raw": "string",
}  # fmt: skip


@dataclass
class Poll:
    """The stage: one voter over the undecided pairs of one examined file.

    Args:
        store: folder or address of the reference store.
        examined: folder of the examined files.
        cache: folder of ballots by identity; None keeps none.
        position: of the voter among all.
        watched: stop when the voter abstains on more than a fifth of its first hundred questions.
    """

    voter: Voter
    store: str
    examined: str
    cache: str | None
    position: int
    watched: bool = False
    name: str = field(init=False)
    version: int = VERSION
    isolated: bool = True
    _watch: voting.Abstentions | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        plain = "".join(c if c.isalnum() else "-" for c in self.voter.name)
        self.name = f"vote-{self.position}-{plain}"
        if self.watched:
            self._watch = voting.Abstentions(self.voter.name)

    @property
    def gpus(self) -> float:
        """A voter with a model of its own takes a whole GPU where a cluster has some."""
        return 0.0 if getattr(self.voter, "cheap", False) or getattr(self.voter, "remote", False) else 1.0

    def settings(self) -> dict[str, Any]:
        """What changes the output."""
        return {"voter": self.voter.name, "revision": self.voter.revision, "prompt": self.voter.prompt}

    def setup(self) -> None:
        """Load the model."""
        self.voter.setup()

    def run(self, shard: Shard, out: Path) -> dict[str, Any]:
        """Ballots of one examined file's pairs."""
        ballots, _ = self.ballots(shard)
        made = f"ballots/{self.name}/{shard.name}.parquet"
        write_table(out / made, [ballot_row(b) for b in ballots], BALLOT_FORM)
        return {"files": {made: len(ballots)}}

    def ballots(self, shard: Shard) -> tuple[list[Ballot], int]:
        """Ballots of one examined file's pairs, and how many of them were not in the cache."""
        name, address, keys = shard.rows
        wanted = set(keys)
        rows = [r for r in read_table(Path(self.examined) / name) if r["key"] in wanted]
        needs_pixels = not getattr(self.voter, "cheap", False)
        questions = self._questions(rows, address, needs_pixels)
        cache = voting.Cache(Path(self.cache) if self.cache and needs_pixels else None)
        fresh = sum(cache.get(voting.identity(q, self.voter)) is None for q in questions)
        batch = getattr(self.voter, "batch", BATCH)
        return list(voting.ask(self.voter, questions, cache, batch, self._watch)), fresh

    def _questions(self, rows: list[dict[str, Any]], address: tuple[str, int], pixels: bool) -> list[Question]:
        data: dict[str, Any] = read_images(*address, [r["key"] for r in rows], sides=("lq",)) if pixels else {}
        shown = self._references({k for r in rows for k in r["references"]}, pixels)
        return [
            Question(
                Shown(
                    r["key"],
                    r["lq_sha256"],
                    data[r["key"]][0] if pixels else b"",
                    r["caption"],
                    {k.removeprefix("signal_"): v for k, v in r.items() if k.startswith("signal_")},
                ),
                tuple(shown[k] for k in r["references"]),
                tuple(r["neighbours"]),
                r["stratum"],
            )
            for r in rows
        ]

    def _references(self, keys: set[str], pixels: bool) -> dict[str, Shown]:
        store = Store.open(self.store)
        columns = ["sha256", "caption", *(["image"] if pixels else [])]
        found = store.some(keys, columns)
        return {
            k: Shown(k, r["sha256"], r["image"]["bytes"] if pixels else b"", r["caption"]) for k, r in found.items()
        }


def ballot_row(b: Ballot) -> dict[str, Any]:
    """A ballot as a row."""
    return {**asdict(b), "references": list(b.references)}


def ballot_of(row: Mapping[str, Any]) -> Ballot:
    """A row as a ballot."""
    return Ballot(**{**row, "references": tuple(row["references"])})
