"""The steps of ``rainrag demo``: each calls the function behind a verb, and says in a few words what came of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rainrag import dataset, images
from rainrag.errors import MissingError
from rainrag.files import listing, write_bytes

Advance = Callable[[int], None]

SIZE = (320, 224)  # (width, height) of rendered pairs
FEWEST = 40  # photographs that calibrate the statistical voters; fewer are filled up with rendered ones
MODELS = ("input", "median", "guided", "unirain")


@dataclass(frozen=True)
class Step:
    """A step: its title, and what does it; ``do`` returns what to say."""

    title: str
    do: Callable[[Advance], str]


class Demo:
    """One run: folders below ``out``, and the facts it collects.

    Args:
        out: workspace of the run.
        own: the user's images, or None.
        scenes: scenes to render for judging; as many again are rendered as references where photographs are short.
        seed: of the rendered rain.
    """

    def __init__(self, out: Path, own: Path | None, scenes: int, seed: int) -> None:
        if own is not None and not own.is_dir():
            raise MissingError("no such folder", where=own, hint="--data FOLDER of images, or none for sample data")
        self.out, self.own, self.scenes, self.seed = out, own, scenes, seed
        os.environ["RAINRAG_HOME"] = str(out)
        self.data: list[Path] = []
        self.facts: dict[str, Any] = {"out": str(out), "judged": {}, "scores": [], "notes": [], "pages": [], "next": []}
        self.steps = [
            Step("render rain with planted faults", self.render),
            Step("ingest", self.ingest),
            Step("audit", self.audit),
            Step("build the reference store", self.store),
            Step("distill: gate, retrieve, vote", self.distill),
            Step("derain", self.derain),
            Step("bench", self.bench),
            Step("leaderboard", self.leaderboard),
        ]

    # ------------------------------------------------ data
    def render(self, advance: Advance) -> str:
        """Sample pairs with faults, and sound ones whose rainy sides stand in for photographs."""
        from rainrag.render import generate

        counts = []
        for name, seed, faults in (("rendered", self.seed, True), ("references", self.seed + 1, False)):
            report = generate.write(
                self.out / "raw" / name,
                self.scenes,
                None,
                seed,
                faults=faults,
                size=SIZE,
                workers=None,
                progress=advance,
            )
            counts.append(report.pairs)
        return f"{counts[0]} pairs to judge, {counts[1]} stand-ins for photographs"

    def ingest(self, advance: Advance) -> str:
        """The user's images, where there are any, and the rendered pairs."""
        said = []
        if self.own is not None:
            report = self._ingest("folder", self.own, "own", advance)
            self.data.append(self.out / "datasets" / "own")
            said.append(f"{report.pairs} of yours, {len(report.rejects)} left out with a reason")
        if not self._pairs():
            report = self._ingest("rendered", self.out / "raw" / "rendered", "rendered", advance)
            self.data.append(self.out / "datasets" / "rendered")
            said.append(f"{report.pairs} rendered pairs")
        return "; ".join(said)

    def _ingest(self, source: str, root: Path, name: str, advance: Advance) -> Any:
        from rainrag import api

        return api.ingest(
            source, root, self.out / "datasets" / name, progress=lambda _, n: advance(n), planned=lambda n: advance(-n)
        )

    def _pairs(self) -> int:
        """Labelled pairs at hand."""
        return sum(r["gt_sha256"] is not None for d in self.data for r in dataset.read_rows(d, ["key", "gt_sha256"]))

    def audit(self, advance: Advance) -> str:
        """Damage, duplicates, leaks and unsound pairs."""
        from rainrag import audit
        from rainrag.engine import create
        from rainrag.reports import audit as auditing

        report, _ = audit.audit(self.data, create("local"), progress=advance)
        auditing.write(self.out / "audit.html", report, self.data, [])
        return f"{len(report.pairs)} unsound pairs, {len(report.duplicates)} groups of duplicates, {len(report.leaks)} leaks"

    # ------------------------------------------------ distillation
    def store(self, advance: Advance) -> str:
        """References: the user's unlabelled photographs first, rendered stand-ins where they are short."""
        from rainrag.encoders.triplet import Triplets
        from rainrag.engine import create
        from rainrag.stock import build

        own = [d for d in self.data if self._unlabelled(d)]
        found = sum(self._unlabelled(d) for d in own)
        sources = list(own)
        if found < FEWEST:
            sources.append(self._stand_ins())
            self.facts["notes"].append(
                f"the store holds {found} photographs of yours and rendered stand-ins: the votes show the mechanism; "
                f"give {FEWEST} or more photographs of real rain for judgements that mean something"
            )
        advance(-1 * sum(map(len, map(_images, sources))) if sources != own else -max(1, found))
        store = build(sources, self.out / "store", Triplets(), create("local"), progress=advance)
        return f"{len(store.keys)} references"

    def _unlabelled(self, data: Path) -> int:
        return sum(r["gt_sha256"] is None for r in dataset.read_rows(data, ["key", "gt_sha256"]))

    def _stand_ins(self) -> Path:
        """Rainy sides of the sound rendered pairs, in one folder."""
        folder = self.out / "references"
        for name in listing(self.out / "raw" / "references"):
            subset, side, file = [*name.split("/"), "", ""][:3]
            if side == "input":
                target = folder / f"{subset}-{file}"
                if not target.exists():
                    write_bytes(target, (self.out / "raw" / "references" / name).read_bytes())
        return folder

    def distill(self, advance: Advance) -> str:
        """The splits, with the statistical voters."""
        from rainrag import release
        from rainrag.reports import distill as reporting
        from rainrag.store import Store

        target, store = self.out / "splits", self.out / "store"
        at = {"stage": ""}

        def progress(stage: str, n: int) -> None:
            if stage != at["stage"]:
                at["stage"] = stage
                advance(n if n < 0 else -n)
            if n > 0:
                advance(n)

        summary = release.make(release.Request(self.data, str(store)), target, progress=progress)
        reporting.write(target / "report.html", target, Store.open(store))
        self._judged(target)
        self.facts["kept"], self.facts["candidates"] = summary.kept, summary.candidates
        self.facts["pages"].append(str(target / "report.html"))
        return f"{summary.kept} of {summary.candidates} pairs kept"

    def _judged(self, target: Path) -> None:
        """How many pairs were rejected, by planted fault."""
        from rainrag.tables import read_table

        faults = {r["key"]: r["fault"] for d in self.data for r in dataset.read_rows(d, ["key", "fault"])}
        total: Counter[str] = Counter()
        rejected: Counter[str] = Counter()
        for row in read_table(target / "verdicts" / "train-00000.parquet", ["key", "tier"]):
            kind = faults.get(row["key"]) or "no planted fault"
            total[kind] += 1
            rejected[kind] += row["tier"] == "rejected"
        self.facts["judged"] = {k: {"pairs": total[k], "rejected": rejected[k]} for k in sorted(total)}

    # ------------------------------------------------ results
    def derain(self, advance: Advance) -> str:
        """The user's rainy images, or stand-ins, by the UniRain in the package, with a before/after page."""
        from rainrag import restore
        from rainrag.restore.compare import Comparison

        place = self.own if self.own is not None else self._stand_ins()
        todo = restore.jobs([place], self.out / "derained")[:8]
        found = restore.find(None, None)
        also = Comparison(self.out / "derained")
        advance(-len(todo))
        done = 0
        for answer in restore.restore_files(restore.Restorer(found.network, found.contract), todo, "auto", also):
            done += isinstance(answer, restore.Done)
            advance(1)
        also.page("Before and after")
        self.facts["compare"] = str(self.out / "derained" / "compare.html")
        return f"{done} of {len(todo)} images, before and after in {self.facts['compare']}"

    def bench(self, advance: Advance) -> str:
        """UniRain and the classical methods on the distilled test parts."""
        from benchmarks import bench, entrants, testsets

        wanted = [f"own-{s.lower()}" for s in dataset.SUBSETS if self._test_pairs(s)]
        if not wanted:
            return "no test pairs were kept, nothing to score"
        for name in wanted:
            opened = testsets.open_set(name)
            for model in MODELS:
                entrant = entrants.find(model, None, ())
                for path in bench.run(
                    entrant, opened, bench.Settings(("y",), save=True), self.out / "results", advance
                ):
                    self._scored(path)
        return f"{len(MODELS)} methods on {len(wanted)} test sets"

    def _test_pairs(self, subset: str) -> int:
        return int(dataset.counts(self.out / "splits").get(subset, {}).get("test", 0))

    def _scored(self, path: Path) -> None:
        from rainrag import results

        result = results.load(path)
        self.facts["scores"].append(
            {"testset": result.testset, "model": result.model, "n": result.n, "psnr": result.mean["psnr"],
             "ssim": result.mean["ssim"], "file": str(path)}
        )  # fmt: skip

    def leaderboard(self, advance: Advance) -> str:
        """The static site of these results."""
        from leaderboard.build import build

        page = build([self.out / "results"], self.out / "leaderboard")
        advance(1)
        self.facts["pages"].append(str(page))
        self.facts["next"] = [
            "rainrag derain MY_PHOTOS --out derained --compare",
            "rainrag score MY_RESULTS MY_TARGETS",
            "rainrag demo --data MY_FOLDER",
        ]
        return str(page)


def _images(folder: Path) -> list[str]:
    return [n for n in listing(folder) if n.lower().endswith(images.SUFFIXES)]
