"""Examine: both sides of a pair decoded once, the gate's reason, the query triplet, its retrieved references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rainrag.core import images
from rainrag.core.errors import DecodeError
from rainrag.core.files import fingerprint
from rainrag.core.images import U8
from rainrag.core.jobs.stage import Shard
from rainrag.core.parquet import write_table
from rainrag.data import dataset, pair_checks, rain_layer
from rainrag.retrieval.references import References
from rainrag.retrieval.search import Query, Retrieved, Sizes, retrieve
from rainrag.retrieval.store import Store
from rainrag.retrieval.triplet import Triplets

VERSION = 2
_Sound = tuple[dict[str, Any], U8, bool | None, bool | None]  # row, rainy pixels, the labels night and drop


@dataclass
class Examine:
    """The stage: gate, triplet and retrieval of the pairs of one row group, each side decoded once."""

    store: str
    triplets: Triplets
    sizes: Sizes
    ablate: str | None = None
    seed: int = 0
    correct: bool = False
    name: str = "examine"
    version: int = VERSION
    isolated: bool = True  # always in a worker of one thread: float sums must not depend on --workers
    _refs: References | None = field(default=None, repr=False)

    @property
    def gpus(self) -> float:
        """Share of a GPU that a worker takes: that of its encoders."""
        return self.triplets.gpus

    def settings(self) -> dict[str, Any]:
        """What changes the output."""
        return {
            "store": Store.open(self.store).fingerprint,
            "triplets": self.triplets.identity(),
            "sizes": asdict(self.sizes),
            "gate": pair_checks.identity(),
            "layer": rain_layer.VERSION,
            "references": "random"
            if self.ablate == "no-retrieval"
            else "none"
            if self.ablate == "vlm-only"
            else "cascade",
            "seed": self.seed,
            "correct": self.correct,
        }

    def setup(self) -> None:
        """Load the encoders and the store's matrices."""
        self.triplets.setup()
        self._refs = Store.open(self.store).references()

    def __getstate__(self) -> dict[str, Any]:
        """Matrices stay behind when the stage travels."""
        return {**self.__dict__, "_refs": None}

    def run(self, shard: Shard, out: Path) -> dict[str, Any]:
        """Examine the pairs of one row group."""
        (path, group), *wanted = shard.rows
        cells = read_images(path, group, [w[0] for w in wanted])
        rows: list[dict[str, Any]] = []
        asked: list[tuple[dict[str, Any], Query]] = []
        sound: list[_Sound] = []
        for key, sha, night, drop in wanted:
            lq, gt = cells[key]
            row, rainy = self._gate(key, sha, lq, gt, night, drop)
            rows.append(row)
            if rainy is not None:
                sound.append((row, rainy, night, drop))
            if len(sound) == self.triplets.batch:
                asked += self._encode(sound)
                sound = []
        asked += self._encode(sound)
        for (row, _), found in zip(asked, self._retrieve([q for _, q in asked]), strict=True):
            row.update(_found(found))
        name = f"{shard.name}.parquet"
        write_table(out / name, rows, EXAMINED)
        return {"files": {name: len(rows)}, "gated": sum(r["gate"] is not None for r in rows)}

    def _gate(
        self, key: str, sha: str, lq: bytes, gt: bytes, night: bool | None, drop: bool | None
    ) -> tuple[dict[str, Any], U8 | None]:
        """Decode and gate one pair; no pixels where it is unsound."""
        row: dict[str, Any] = {"key": key, "lq_sha256": sha, "gate": None, "detail": "", **_EMPTY}
        try:
            rainy, clean = images.decode(lq, key).rgb, images.decode(gt, key).rgb
        except DecodeError as e:
            return {**row, "gate": "undecodable", "detail": e.what}, None
        finding = pair_checks.check(rainy, clean, night, drop)
        made = (
            pair_checks.corrected(rainy, clean, night, drop) if self.correct and finding.reason == "exposure" else None
        )
        if made:
            clean, row["exposure"] = made[0], list(made[1])
        elif finding.reason:
            return {**row, "gate": finding.reason, "detail": finding.detail}, None
        if min(rainy.shape[:2]) >= rain_layer.SMALLEST:
            row["signal_layer"] = rain_layer.describe(rainy, clean).tolist()
        return row, rainy

    def _encode(self, sound: Sequence[_Sound]) -> list[tuple[dict[str, Any], Query]]:
        """Triplets of pairs that pass the models together: noted in their rows, and as queries."""
        made = self.triplets([rainy for _, rainy, _, _ in sound]) if sound else []
        asked = []
        for (row, rainy, night, drop), t in zip(sound, made, strict=True):
            # Labels know more of a pair than its pixels do; pixels decide where there is no label.
            light = "night" if (t.night if night is None else night) else "day"
            kind = "drops" if (t.drops if drop is None else drop) else "streaks"
            row.update(
                stratum=f"{light}-{kind}",
                caption=t.caption,
                **{f"signal_{k}": v.tolist() for k, v in t.signals.items()},
            )
            phash = images.phash(rainy)
            asked.append((row, Query(row["key"], row["lq_sha256"], phash, t.text, t.feature, t.structure)))
        return asked

    def _retrieve(self, queries: list[Query]) -> list[Retrieved]:
        assert self._refs is not None
        if not queries:
            return []
        if self.ablate == "vlm-only":
            return [Retrieved((), ())] * len(queries)
        if self.ablate == "no-retrieval":
            return [self._random(q) for q in queries]
        return retrieve(queries, self._refs, self.sizes)

    def _random(self, q: Query) -> Retrieved:
        """K3 random references, the same for the same key and seed; scored, so that reports can show them."""
        assert self._refs is not None
        rng = np.random.default_rng(int(fingerprint([self.seed, q.key]), 16) % 2**63)
        keep = rng.permutation(len(self._refs))[: self.sizes.k3]
        few = References(
            [self._refs.keys[i] for i in keep],
            [str(self._refs.sha256[i]) for i in keep],
            [""] * len(keep),
            self._refs.texts[keep],
            self._refs.features[keep],
            np.stack([np.asarray(self._refs.structures[int(i)]) for i in keep]),
        )
        n = len(keep)
        return retrieve([q], few, Sizes(n, n, n))[0]


_EMPTY: dict[str, Any] = {
    "stratum": "", "caption": "", "references": [], "semantic": [], "visual": [], "structural": [], "neighbours": [],
    "signal_rain": [], "signal_texture": [], "signal_nature": [], "signal_alone": [], "signal_layer": [],
    "exposure": [],
}  # fmt: skip
EXAMINED = {
    "key": "string", "lq_sha256": "string", "gate": "string", "detail": "string", "stratum": "string",
    "caption": "string", "references": "strings", "semantic": "floats", "visual": "floats", "structural": "floats",
    "neighbours": "strings", "signal_rain": "floats", "signal_texture": "floats", "signal_nature": "floats",
    "signal_alone": "floats", "signal_layer": "floats", "exposure": "floats",
}  # fmt: skip


def _found(found: Retrieved) -> dict[str, Any]:
    return {
        "references": [m.key for m in found.matches],
        "semantic": [m.semantic for m in found.matches],
        "visual": [m.visual for m in found.matches],
        "structural": [m.structural for m in found.matches],
        "neighbours": list(found.neighbours),
    }


def read_images(path: str, group: int, keys: Sequence[str], sides: tuple[str, ...] = ("lq", "gt")) -> dict[str, Any]:
    """Encoded bytes of some rows of one row group: key -> (lq, gt)."""
    wanted = set(keys)
    part = dataset.group(path, group, ["key", *sides])
    return {r["key"]: tuple(dataset.image_bytes(r[s]) for s in sides) for r in part if r["key"] in wanted}
