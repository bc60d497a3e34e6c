"""How the weights in the package were made, verb by verb; each verb goes on where it was broken off.

    python -m rainrag.benchmarks.shipped VERB… --data DIR --work DIR

    audit     which clean photographs show a scene of a known test set
    render    rain on the others: photographic rain of four types with planted faults, and additive layers by day
    ingest    both, and the training parts of the streak sets available locally, as datasets
    store     the unlabelled real photographs as reference store
    distill   the rendered rain, judged by the statistical voters
    train     a tiny UniRain by recipes/shipped-tiny.yaml, then on larger crops by shipped-tiny-crops.yaml
    score     Rain100L, HQ-NightRain (validation), RainDrop (four pairs) and the rendered test part

``--data`` holds the folders named in ``CLEAN``, ``PAIRS`` and ``PHOTOGRAPHS``. No test set is read before
``score``, but by ``audit``, which hashes its scenes so that none is trained on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from rainrag.core import images, jobs, workspace
from rainrag.core.errors import MissingError, RainRAGError
from rainrag.core.files import canonical, listing, write_bytes, write_json, write_text
from rainrag.core.parquet import read_table
from rainrag.core.types import Subset
from rainrag.data import audit, contamination, ingest, sources
from rainrag.data.synthetic import backgrounds, generate, render
from rainrag.data.synthetic.source import MANIFEST

SEED = 20260
SIZE = (320, 320)  # (width, height) of rendered pairs: BSDS photographs are 321 high, so none is enlarged
SCENES = 800  # of photographic rain, dealt to the four types
VERSIONS = 3  # rainy versions of each scene
FAULTS = 0.2  # share of photographic pairs with a planted fault, so that distillation has something to find
LAYERS = 5  # additive versions of each scene

#: Clean photographs.
CLEAN = ("clean-photos", "clean-more")
#: Of this set every other photograph carries additive layers instead of photographic rain, so no scene is in both.
SHARED = "BSDS500"
#: Folder -> source of pairs whose training part is used.
PAIRS = {"RainHeavy-small": "rain200h", "Rain200L": "rain200l", "HQ-NightRain": "hq-nightrain"}
#: Unlabelled photographs in real rain: the reference store.
PHOTOGRAPHS = (
    "Real-147/real_input", "MWD-rain", "misc-real", "UDR-S2Former-demo", "UnfairGAN-real_rain", "DeRaindrop-demo/input",
    "NTURain-sample", "night-rain-photos",
)  # fmt: skip
#: Scored once, at the end.
TESTS = ("rain100l", "hq-nightrain-sample", "raindrop-sample")
#: Test sets that the packaged ledger does not hold.
UNLISTED = ("RainDrop-train-sample",)


# ---------------------------------------------------------------- audit
def do_audit(data: Path, work: Path) -> None:
    """Which clean photographs are scenes of a test set; the ledger in the workspace learns the unlisted sets."""
    place = workspace.place("ledger.jsonl")
    for name in UNLISTED:
        _, items = audit.audit([_have(data, name)], jobs.create("local"), gates=False)
        paired = [i for i in items if i.paired]
        contamination.extend(place, [{"key": i.key, "phash": i.phash} for i in paired])
    report, _ = audit.audit([_have(data, n) for n in CLEAN], jobs.create("local"), gates=False)
    write_json(work / "audit.json", report.to_dict())
    print(f"{report.images} clean photographs, {len(report.leaks)} of them test scenes")


def _have(data: Path, name: str) -> Path:
    if not (data / name).is_dir():
        raise MissingError(f"no folder '{name}'", where=data, hint="see CLEAN, PAIRS and PHOTOGRAPHS in shipped.py")
    return data / name


# ---------------------------------------------------------------- render
def do_render(data: Path, work: Path) -> None:
    """Photographic and additive rain on the photographs that the audit leaves."""
    pools(data, work)
    report = generate.write(
        work / "raw/rendered", SCENES, work / "backgrounds/photo", SEED,
        faults=True, fault_share=FAULTS, per_scene=VERSIONS, size=SIZE, workers=1, progress=_said("render"),
    )  # fmt: skip
    print(json.dumps({"photographic": report.counts, "faults": report.faults, "notes": report.notes}))
    print("additive:", layers(work / "backgrounds/layers", work / "raw/layers"))


def pools(data: Path, work: Path) -> None:
    """Copy the photographs into two disjoint pools, without those that show a test scene."""
    known = contamination.Ledger.load(workspace.place("ledger.jsonl"))
    excluded: dict[str, str] = {}
    turn = 0
    for top in CLEAN:
        for name in listing(_have(data, top)):
            if not name.lower().endswith(images.SUFFIXES):
                continue
            hit = known.find(images.phash(images.read(data / top / name).rgb))
            if hit:
                excluded[f"{top}/{name}"] = hit.key
                continue
            turn += SHARED in name
            pool = "layers" if SHARED in name and turn % 2 else "photo"
            target = work / "backgrounds" / pool / top / name
            if not target.exists():
                write_bytes(target, (data / top / name).read_bytes())
    write_json(work / "excluded.json", excluded)


def layers(clean: Path, out: Path, versions: int = LAYERS) -> int:
    """Additive streaks on day photographs, in the layout of rendered rain; returns the number of pairs.

    Four of five layers are light to middling, as in Rain100L's training set; the rest run to the heaviest.
    """
    lines = []
    names = [n for n in listing(clean) if n.lower().endswith(images.SUFFIXES)]
    for number, name in enumerate(names):
        picture = images.read(clean / name).rgb
        if images.is_night(picture):
            continue
        for k in range(versions):
            rng = np.random.default_rng([SEED, 7, number, k])
            strength = float(rng.uniform(0.0, 0.6) if rng.random() < 0.8 else rng.uniform(0.6, 1.0))
            pair = render(backgrounds.crop(picture, SIZE, rng), Subset.DRS, rng, strength, style="additive")
            stem = f"{number:06d}-{k}"
            for side, rgb in (("input", pair.lq), ("target", pair.gt)):
                target = out / "DRS" / side / f"{stem}.png"
                if not target.exists():
                    write_bytes(target, images.encode_png(rgb))
            scene = str(PurePosixPath(name).with_suffix(""))
            flags = {"streak": True, "drop": False, "night": False, "accumulation": False}
            lines.append(
                {"stem": f"DRS/{stem}", "subset": "DRS", "split": "train", "scene": scene, "fault": None,
                 "params": pair.params, **flags}
            )  # fmt: skip
    write_text(out / MANIFEST, "".join(canonical(line) + "\n" for line in lines))
    return len(lines)


def _said(what: str) -> Any:
    """A progress callback that prints now and then."""
    state = {"done": 0, "total": 0}

    def advance(n: int) -> None:
        if n < 0:
            state["total"] = -n
            return
        before = state["done"]
        state["done"] += n
        if state["done"] // 400 > before // 400:
            print(f"{what}: {state['done']} of {state['total'] or '?'}", flush=True)

    return advance


# ---------------------------------------------------------------- datasets
def do_ingest(data: Path, work: Path) -> None:
    """Rendered rain and the training parts of the pairs available locally; scenes of the ledger stay out, and are listed."""
    one = jobs.create("local", workers=1)
    rendered = sources.get("rendered")
    named = {"rendered": rendered, "layers": ingest.renamed(rendered, "layers")}
    reports = [ingest.ingest(s, work / "raw" / n, work / "datasets" / n, one) for n, s in named.items()]
    for folder, name in PAIRS.items():
        source, out = sources.get(name), work / "datasets" / name
        reports.append(ingest.ingest(source, _have(data, folder), out, one, splits=["train"]))
    for r in reports:
        gone = {x.key: x.detail for x in r.rejects if x.reason == "ledger"}
        print(f"{r.source}: {r.counts}; of known test scenes, left out: {gone or 'none'}")


def do_store(data: Path, work: Path) -> None:
    """The reference store of unlabelled real photographs, with the encoders in the package."""
    from rainrag.retrieval import build
    from rainrag.retrieval.triplet import Triplets

    photographs = [_have(data, n) for n in PHOTOGRAPHS]
    store = build.build(photographs, work / "store", Triplets(), jobs.create("local", workers=1))
    print(f"{len(store.keys)} references, {len(store.manifest['left_out'])} left out")


def do_distill(data: Path, work: Path) -> None:
    """The photographic rain before gate, retrieval and the three statistical voters."""
    from rainrag.distill import pipeline

    request = pipeline.Request([work / "datasets/rendered"], str(work / "store"), workers=1)
    summary = pipeline.make(request, work / "splits", progress=lambda stage, n: None)
    rows = [r for p in sorted((work / "splits/verdicts").glob("*.parquet")) for r in read_table(p, ["fault", "keep"])]
    kept = {f: [r["keep"] for r in rows if r["fault"] == f] for f in sorted({r["fault"] or "" for r in rows} - {""})}
    sound = [r["keep"] for r in rows if not r["fault"]]
    table = {f: f"{sum(k)} of {len(k)}" for f, k in {"none": sound, **kept}.items()}
    write_json(work / "distilled.json", {**asdict(summary), "kept_by_fault": table})
    print(json.dumps({"kept": summary.kept, "of": summary.candidates, "splits": summary.splits, "by fault": table}))


# ---------------------------------------------------------------- training and scores
def roots(work: Path) -> tuple[Path, ...]:
    """What is trained on: the distilled splits, and the datasets that were not judged."""
    return (work / "splits", *(work / "datasets" / n for n in ("layers", *PAIRS.values())))


#: Parts of the training: recipe -> run folder, each beginning with the weights of the one before.
RUNS = {"shipped-tiny": "run", "shipped-tiny-crops": "run-crops"}


def do_train(data: Path, work: Path) -> None:
    """Train by the recipes, on from the last checkpoint where there is one."""
    from rainrag import training

    def said(figures: dict[str, Any]) -> None:
        print(f"step {figures['step']}: probe {figures['mean']:.3f} dB", flush=True)

    weights = None
    for recipe, folder in RUNS.items():
        out = work / folder
        going = (out / "checkpoints/last.ckpt").exists()
        request = training.Request("unirain", roots(work), training.load(recipe), out, going, weights=weights)
        result = training.train(request, report=said)
        print(json.dumps({k: result[k] for k in ("parameters", "steps", "best_step", "seconds", "probe")}))
        weights = str(out / "weights")


def do_score(data: Path, work: Path) -> None:
    """The test sets, once: the input, PReNet's published weights and the network that was trained."""
    from rainrag.evaluation import results, run, submissions, testsets

    weights = {"unirain": str(work / list(RUNS.values())[-1] / "weights")}
    for name in (*TESTS, *(f"own-{s.value.lower()}=" + str(work / "splits") for s in Subset)):
        opened = testsets.open_set(name)
        for model in ("input", "prenet", "unirain"):
            entrant = submissions.find(model, weights.get(model), opened.testset.kin)
            for path in run.run(entrant, opened, run.BenchSettings(("y",)), work / "results"):
                result = results.load(path)
                print(f"{result.testset} {model}: n {result.n}, PSNR-Y {result.mean['psnr']:.3f}, "
                      f"SSIM-Y {result.mean['ssim']:.4f}", flush=True)  # fmt: skip


VERBS = {
    "audit": do_audit, "render": do_render, "ingest": do_ingest, "store": do_store, "distill": do_distill,
    "train": do_train, "score": do_score,
}  # fmt: skip


def main() -> int:
    """Run the verbs in the order given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verbs", nargs="+", choices=[*VERBS, "all"])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RAINRAG_TESTDATA", ".")) / "data")
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    os.environ["RAINRAG_HOME"] = str(given.work.resolve() / "home")
    try:
        for verb in VERBS if "all" in given.verbs else given.verbs:
            VERBS[verb](given.data, given.work)
    except RainRAGError as e:
        print(e, file=sys.stderr)
        return e.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
