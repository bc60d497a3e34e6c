"""Fit the learned voters on what ``evidence`` measured, and show what they do on kinds and scenes left out.

    python -m rainrag.benchmarks.distillation.fit_evidence FOLDER… --photographs DIR… [--out FILE]

Sound: photographs of real rain, real pairs, rendered pairs. False: every tuned kind of false rain, planted false rain, and
(for the voter that has no clean side) dry scenes. The weights that are written come from all of it. Their calibration comes
from scores of a threefold cross-validation over scenes, as no score of an example that was fitted says what new ones get.
The printed table goes further: each kind is scored by a fit that saw neither its scene nor its kind.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rainrag.benchmarks.distillation.evidence import SUFFIXES
from rainrag.core import images
from rainrag.core.files import atomic, listing
from rainrag.core.parquet import read_table
from rainrag.data.rain_layer import NAMES
from rainrag.voters.forest import CLIP, Forest

FOLDS, GROUPS = 3, 6
RIDGE = 0.1  # scikit-learn's C: smaller holds the weights closer to 0
TREES, LEAF, SHARE = 100, 3, 0.3
REAL = 3.0  # weight of a real example beside a rendered one


def rows_of(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """All that was measured."""
    return [r for folder in folders for path in sorted(folder.glob("*.parquet")) for r in read_table(path)]


def fit(x: Any, sound: Any, weight: Any, seed: int = 0) -> Forest:
    """Regression and trees on (N, D) values; sound and false examples weigh alike together."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression

    middle = np.median(x[sound], axis=0)
    spread = np.median(np.abs(x[sound] - middle), axis=0) * 1.4826 + 0.05 * x[sound].std(axis=0) + 1e-3
    z = np.clip((x - middle) / spread, -CLIP, CLIP)
    z = np.concatenate([z, np.abs(z)], axis=1).astype(np.float32)
    weight = weight.copy()
    weight[sound] *= weight[~sound].sum() / weight[sound].sum()
    line = LogisticRegression(C=RIDGE, max_iter=400).fit(z, sound, weight)
    trees = ExtraTreesClassifier(TREES, min_samples_leaf=LEAF, max_features=SHARE, random_state=seed).fit(
        z, sound, weight
    )
    most = max(t.tree_.node_count for t in trees.estimators_)
    blank = np.zeros((TREES, most))
    parts = {name: blank.copy() for name in ("feature", "threshold", "left", "right", "leaf")}
    for i, one in enumerate(trees.estimators_):
        t, n = one.tree_, one.tree_.node_count
        parts["feature"][i, :n] = np.where(t.children_left < 0, -1, t.feature)
        parts["threshold"][i, :n], parts["left"][i, :n], parts["right"][i, :n] = (
            t.threshold,
            t.children_left,
            t.children_right,
        )
        share = t.value[:, 0, :]
        parts["leaf"][i, :n] = share[:, 1] / share.sum(axis=1)
    kinds: dict[str, Any] = {"feature": np.int16, "left": np.int16, "right": np.int16}
    made: dict[str, Any] = {k: v.astype(kinds.get(k, np.float32)) for k, v in parts.items()}
    weights = np.append(line.coef_[0], line.intercept_[0]).astype(np.float32)
    return Forest(middle.astype(np.float32), spread.astype(np.float32), weights, **made)


def fold_of(scene: str) -> int:
    """Fold of a scene."""
    return hashlib.sha256(scene.encode()).digest()[1] % FOLDS


class Examples:
    """Values of one signal with their truth."""

    def __init__(self, rows: Sequence[dict[str, Any]], signal: str) -> None:
        self.rows = [r for r in rows if r[signal] is not None]
        self.x = np.array([r[signal] for r in self.rows], np.float32)
        self.sound = np.array([r["truth"] in ("real", "rendered") for r in self.rows])
        self.weight = np.array([REAL if r["truth"] == "real" else 1.0 for r in self.rows])
        self.kind = np.array([r["kind"] if r["truth"] in ("false", "dry") else "" for r in self.rows])
        self.drop = np.array([r["drop"] for r in self.rows])
        self.fold = np.array([fold_of(r["scene"]) for r in self.rows])

    def left_out(self) -> Any:
        """(N,) scores by fits that saw no example of the scene."""
        scores = np.zeros(len(self.rows))
        for f in range(FOLDS):
            train = self.fold != f
            scores[~train] = fit(self.x[train], self.sound[train], self.weight[train]).score(self.x[~train])
        return scores

    def kinds_left_out(self, limit: float = 0.05) -> dict[str, float]:
        """Kind -> share kept by fits that saw neither the scene nor the kind, where ``limit`` of sound ones are rejected."""
        kinds = sorted({*self.kind} - {""})
        scores = np.zeros((GROUPS, len(self.rows)))
        for f in range(FOLDS):
            for g in range(GROUPS):
                train = (self.fold != f) & ~np.isin(self.kind, kinds[g::GROUPS])
                test = self.fold == f
                scores[g, test] = fit(self.x[train], self.sound[train], self.weight[train]).score(self.x[test])
        out = {}
        for i, k in enumerate(kinds):
            s, own = scores[i % GROUPS], self.kind == k
            limits = [np.quantile(s[self.sound & (self.drop == d)], limit) for d in (False, True)]
            out[k] = float(np.mean(s[own] > np.where(self.drop[own], limits[1], limits[0])))
        return out


def hashes(rows: Sequence[dict[str, Any]], folders: Sequence[Path]) -> list[str]:
    """Perceptual hash of each photograph, found again by its name."""
    paths = {
        f"{root.name}/{name}": root / name
        for root in folders
        for name in listing(root)
        if name.lower().endswith(SUFFIXES)
    }
    return [images.phash(images.read(paths[r["scene"]]).rgb) for r in rows]


def main(argv: list[str] | None = None) -> int:
    """Fit, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--photographs", type=Path, nargs="+", required=True)
    parser.add_argument("--kinds", action="store_true", help="print the table of kinds left out: minutes")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(argv)
    rows = rows_of(args.folders)
    arrays: dict[str, Any] = {}
    for signal in ("layer", "alone"):
        examples = Examples(rows, signal)
        scores = examples.left_out()
        limit = np.quantile(scores[examples.sound], 0.05)
        print(
            f"{signal}: {len(examples.rows)} examples, {int(examples.sound.sum())} sound of {examples.x.shape[1]} values"
        )
        for k in sorted({*examples.kind} - {""}):
            own = examples.kind == k
            print(f"  scenes left out, kept {float((scores[own] > limit).mean()):.2f} of {int(own.sum())} {k}")
        if args.kinds:
            for k, share in examples.kinds_left_out().items():
                print(f"  scenes and kind left out, kept {share:.2f} of {k}")
        arrays |= fit(examples.x, examples.sound, examples.weight).arrays(signal)
        arrays |= _calibration(signal, examples, scores, args.photographs)
    if args.out:
        from safetensors.numpy import save

        with atomic(args.out) as tmp:
            tmp.write_bytes(save({k: np.ascontiguousarray(v) for k, v in arrays.items()}))
    return 0


def _calibration(signal: str, examples: Examples, scores: Any, photographs: Sequence[Path]) -> dict[str, Any]:
    """What p-values are counted from: sound pairs for the layer, training photographs by hash without it."""
    assert examples.x.shape[1] == len(NAMES)
    if signal == "layer":
        at = np.flatnonzero(examples.sound).tolist()
        real = np.array([examples.rows[i]["truth"] == "real" for i in at])
        return {
            "layer.known": scores[at].astype(np.float32),
            "layer.drop": examples.drop[at].astype(np.uint8),
            "layer.real": real.astype(np.uint8),
        }
    at = [i for i, r in enumerate(examples.rows) if r["truth"] == "real" and r["kind"] == "photograph"]
    marks = images.hash_bits(hashes([examples.rows[i] for i in at], photographs))
    return {"alone.known": scores[at].astype(np.float32), "alone.phash": marks}


if __name__ == "__main__":
    sys.exit(main())
