"""The steps of ``rainrag demo``: each calls the function behind a verb, and says in a few words what came of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Any

from rainrag.core import images
from rainrag.core.errors import InputError, MissingError, UsageError
from rainrag.core.files import listing, write_bytes
from rainrag.core.types import Source, Subset
from rainrag.data import dataset, sources
from rainrag.data.ingest import IngestReport, ingest, renamed
from rainrag.data.sources.folder import PHOTOGRAPHS
from rainrag.data.sources.layouts import Layout, match

Advance = Callable[[int], None]

SIZE = (320, 224)  # (width, height) of rendered pairs
FEWEST = 40  # photographs that calibrate the statistical voters; fewer are filled up with rendered ones
SHOWN = 8  # images that are derained
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
        own: the user's pairs, or photographs; None for sample data.
        photos: the user's photographs of real rain, for the store.
        scenes: scenes to render for judging; as many again, and at least ``FEWEST``, are rendered as references where
            photographs are short. Of the user's pairs, at most so many are taken.
        seed: of the rendered rain.
        subset: type of the user's pairs; None takes them as streaks, and day or night as the pixels say.
        layout: how the user's images pair, where options say so.
    """

    def __init__(
        self, out: Path, own: Path | None, photos: Path | None, scenes: int, seed: int, subset: str | None = None,
        layout: Layout | None = None,
    ) -> None:  # fmt: skip
        for folder in filter(None, (own, photos)):
            if not folder.is_dir():
                raise MissingError("no such folder", where=folder, hint="a folder of images, or none for sample data")
            if not _images(folder):
                raise InputError("no image in it", where=folder, hint=f"files that end in {', '.join(images.SUFFIXES)}")
        if subset is not None and (own is None or subset not in dataset.SUBSETS):
            raise UsageError(
                f"no subset '{subset}' of --data", hint=f"one of {', '.join(dataset.SUBSETS)}, for pairs of your own"
            )
        self.out, self.own, self.photos, self.scenes, self.seed, self.subset = out, own, photos, scenes, seed, subset
        self.matched = own and match(sources.get("folder"), own, (layout,) if layout else None)
        os.environ["RAINRAG_HOME"] = str(out)
        self.data: list[Path] = []
        self.facts: dict[str, Any] = {"out": str(out), "judged": {}, "scores": [], "notes": [], "pages": []}
        self.facts["next"] = [
            "rainrag derain MY_PHOTOS --out derained --compare",
            "rainrag score MY_RESULTS MY_TARGETS",
            "rainrag demo --data MY_FOLDER"
            if self.own is None
            else f"rainrag ingest folder --root {quote(str(self.own))} --name mine --subset {self.subset or 'DRS'}",
        ]
        ours = [Step("ingest your images", self.ingest_own)] if own or photos else []
        self.steps = [
            *ours,
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
    def ingest_own(self, advance: Advance) -> str:
        """The user's images. Nothing is trained here, so known test scenes may stay."""
        left_out, folder = 0, sources.get("folder")
        if self.own is not None:
            flags: dict[str, Any] = {"streak": True, "drop": False, "accumulation": False}
            source = renamed(folder, "own", **(Subset[self.subset].flags if self.subset else flags))
            report = self._ingest(
                source, self.own, advance, limit=max(self.scenes, FEWEST), keep_ledger_scenes=True, matched=self.matched
            )
            left_out += len(report.rejects)
        if self.photos is not None:
            report = self._ingest(renamed(folder, "photos"), self.photos, advance, layout=PHOTOGRAPHS)
            left_out += len(report.rejects)
        if self._pairs() and not self.subset:
            self.facts["notes"].append("your pairs were taken as streaks; of drops on the lens: --subset DRD (or NRD)")
        return f"{self._pairs()} pairs, {self._photographs()} photographs, {left_out} left out with a reason"

    def render(self, advance: Advance) -> str:
        """Pairs with faults, unless there are the user's; sound ones whose rainy sides stand in for photographs."""
        from rainrag.data.synthetic import generate

        wanted = [] if self._pairs() else [("rendered", "pairs to judge", self.scenes, self.seed, True)]
        if self._photographs() < FEWEST:
            wanted.append(("references", "stand-ins for photographs", max(self.scenes, FEWEST), self.seed + 1, False))
        said = []
        for name, what, scenes, seed, faults in wanted:
            report = generate.write(
                self.out / "raw" / name, scenes, None, seed,
                faults=faults, size=SIZE, workers=None, progress=advance,
            )  # fmt: skip
            said.append(f"{report.pairs} {what}")
        return ", ".join(said) or "not needed"

    def ingest(self, advance: Advance) -> str:
        """The rendered pairs, where there are any."""
        if not (self.out / "raw" / "rendered").is_dir():
            return "not needed, your pairs are judged"
        report = self._ingest(sources.get("rendered"), self.out / "raw" / "rendered", advance)
        return f"{report.pairs} pairs, {len(report.rejects)} left out with a reason"

    def _ingest(self, source: Source, root: Path, advance: Advance, **settings: Any) -> IngestReport:
        from rainrag.core.jobs import create

        out = self.out / "datasets" / source.name
        report = ingest(
            source, root, out, create("local"),
            progress=lambda _, n: advance(n), planned=lambda n: advance(-n), **settings,
        )  # fmt: skip
        self.data.append(out)
        return report

    def _pairs(self) -> int:
        """Available pairs."""
        return sum(r["gt_sha256"] is not None for d in self.data for r in dataset.read_rows(d, ["gt_sha256"]))

    def _photographs(self) -> int:
        """Available photographs without a target."""
        return sum(r["gt_sha256"] is None for d in self.data for r in dataset.read_rows(d, ["gt_sha256"]))

    def audit(self, advance: Advance) -> str:
        """Damage, duplicates, leaks and unsound pairs."""
        from rainrag.core.jobs import create
        from rainrag.data import audit
        from rainrag.reports import audit as auditing

        report, _ = audit.audit(self.data, create("local"), progress=advance)
        auditing.write(self.out / "audit.html", report, self.data, [])
        self.facts["pages"].append(str(self.out / "audit.html"))
        return f"{len(report.pairs)} unsound pairs, {len(report.duplicates)} groups of duplicates, {len(report.leaks)} leaks"

    # ------------------------------------------------ distillation
    def store(self, advance: Advance) -> str:
        """References: the user's unlabelled photographs first, rendered stand-ins where they are short."""
        from rainrag.core.jobs import create
        from rainrag.retrieval.build import build
        from rainrag.retrieval.triplet import Triplets

        found = self._photographs()
        folders = [d for d in self.data if any(r["gt_sha256"] is None for r in dataset.read_rows(d, ["gt_sha256"]))]
        if found < FEWEST:
            folders.append(self._stand_ins())
            self.facts["notes"].append(
                f"the store holds {found} photographs of yours and rendered stand-ins: the votes show the mechanism; "
                f"give {FEWEST} or more photographs of real rain (--photos) for judgements that mean something"
            )
            found += len(_images(folders[-1]))
        advance(-found)
        store = build(folders, self.out / "store", Triplets(), create("local"), progress=advance)
        return f"{len(store.keys)} references"

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
        from rainrag.distill import pipeline
        from rainrag.reports import distill as reporting
        from rainrag.retrieval.store import Store

        target, store = self.out / "splits", self.out / "store"
        at = {"stage": ""}

        def progress(stage: str, n: int) -> None:
            if stage != at["stage"]:
                at["stage"] = stage
                advance(n if n < 0 else -n)
            if n > 0:
                advance(n)

        summary = pipeline.make(pipeline.Request(self.data, str(store)), target, progress=progress)
        reporting.write(target / "report.html", target, Store.open(store))
        self._judged(target)
        self.facts |= {"kept": summary.kept, "candidates": summary.candidates, "rejected": dict(summary.rejected)}
        self.facts["pages"].append(str(target / "report.html"))
        return f"{summary.kept} of {summary.candidates} pairs kept"

    def _judged(self, target: Path) -> None:
        """How many pairs were rejected, by planted fault."""
        from rainrag.core.parquet import read_table

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
        """The first rainy images, by the UniRain in the package, with a before/after page."""
        from rainrag import restore
        from rainrag.reports.comparison import Comparison

        self._unpack()
        todo = restore.jobs([self.out / "rainy"], self.out / "derained")
        found = restore.find(None, None)
        also = Comparison(self.out / "derained")
        advance(-len(todo))
        done = 0
        for answer in restore.restore_files(restore.Restorer(found.network, found.contract), todo, "auto", also):
            done += isinstance(answer, restore.Done)
            advance(1)
        also.page("Before and after")
        self.facts["compare"] = str(self.out / "derained" / "compare.html")
        self.facts["pages"].append(self.facts["compare"])
        return f"{done} images, before and after in {self.facts['compare']}"

    def _unpack(self) -> None:
        """The first rows as files: ``rainy/NAME``, and ``clean/NAME`` where there is a target."""
        rows = (r for r in dataset.read_rows(self.data[0], ["key", "fault", "lq", "gt"]) if not r["fault"])
        for row in islice(rows, SHOWN):
            for side, cell in (("rainy", row["lq"]), ("clean", row["gt"])):
                if cell is not None:
                    name = row["key"].replace("/", "-") + Path(cell["path"]).suffix
                    write_bytes(self.out / side / name, dataset.image_bytes(cell))

    def bench(self, advance: Advance) -> str:
        """UniRain and the classical methods: on the distilled test parts, or else on the pairs that were derained."""
        from rainrag.evaluation import run as bench
        from rainrag.evaluation import submissions, testsets

        wanted = [f"own-{s.lower()}" for s in dataset.SUBSETS if self._test_pairs(s)]
        if not wanted and (self.out / "clean").is_dir():
            wanted = [f"folder:{self.out / 'rainy'},{self.out / 'clean'}"]
        opened = [testsets.open_set(name) for name in wanted]
        advance(-len(MODELS) * sum(len(o.items) for o in opened))
        for testset in opened:
            for model in MODELS:
                entrant, settings = submissions.find(model, None, ()), bench.BenchSettings(("y",), save=True)
                for path in bench.run(entrant, testset, settings, self.out / "results", lambda n: advance(max(0, n))):
                    self._scored(path)
        return f"{len(MODELS)} methods on {len(wanted)} test sets"

    def _test_pairs(self, subset: str) -> int:
        return int(dataset.counts(self.out / "splits").get(subset, {}).get("test", 0))

    def _scored(self, path: Path) -> None:
        from rainrag.evaluation import results

        result = results.load(path)
        self.facts["scores"].append(
            {"testset": result.testset, "model": result.model, "n": result.n, "psnr": result.mean["psnr"],
             "ssim": result.mean["ssim"], "file": str(path)}
        )  # fmt: skip

    def leaderboard(self, advance: Advance) -> str:
        """The static site of these results."""
        from rainrag.leaderboard.build import build

        if not self.facts["scores"]:
            return "no pair was scored"
        page = build([self.out / "results"], self.out / "leaderboard")
        advance(1)
        self.facts["pages"].append(str(page))
        return str(page)


def _images(folder: Path) -> list[str]:
    return [n for n in listing(folder) if n.lower().endswith(images.SUFFIXES)]
