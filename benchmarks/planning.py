"""What a benchmark will run: models times test sets, what is there already, and what is missing with the way to it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rainrag import baselines
from rainrag.benchmarks import tables
from rainrag.benchmarks.tables import Entry
from rainrag.core import workspace
from rainrag.core.errors import MissingError, RainRAGError, UsageError
from rainrag.evaluation import results, submissions, testsets
from rainrag.evaluation.run import BenchSettings, is_there
from rainrag.evaluation.submissions import Entrant
from rainrag.evaluation.testsets import Opened

#: The user's own splits: what is asked for where no test set is available locally.
DEFAULT = ("own-drs", "own-drd", "own-nrs", "own-nrd")


@dataclass(frozen=True)
class Missing:
    """Something that a run needs and that is not there."""

    what: str
    hint: str | None


@dataclass(frozen=True)
class Step:
    """An entrant on a test set.

    Args:
        root: folder of results.
        paths: results, one a protocol.
        done: whether all of them are there, of exactly these images.
    """

    entrant: Entrant
    opened: Opened
    settings: BenchSettings
    root: Path
    paths: list[Path]
    done: bool

    def to_dict(self) -> dict[str, Any]:
        """For ``--dry-run --json``."""
        return {
            "model": self.entrant.name,
            "weights": self.entrant.weights,
            "testset": self.opened.name,
            "testset_sha256": self.opened.sha256,
            "n": len(self.opened.items),
            "protocols": [p.name for p in self.settings.of(self.opened.testset)],
            "results": [str(p) for p in self.paths],
            "there": self.done,
            "gmacs_256": self.gmacs,
        }

    @property
    def gmacs(self) -> float | None:
        """Multiply-accumulates of the network for 256 x 256 pixels, 1e9."""
        if self.entrant.folder is not None or self.entrant.name not in baselines.TABLE:
            return None
        card = baselines.card_of(self.entrant.name)
        return None if card.gmacs is None else card.gmacs * (256 / card.macs_at) ** 2


@dataclass(frozen=True)
class Asked:
    """What the user asked for, still in words.

    Args:
        experiment: of ``rainrag.benchmarks.tables``, or None.
        models: names; empty for the experiment's, else UniRain.
        testsets: as ``testsets.open_set`` takes them; empty for the experiment's, else all that are available locally.
        weights: by model; under "" for the only one.
        folder: images that were made elsewhere, and the name they go by.
        pattern, suffix: how their names belong to those of a test set.
        limit: first images only.
    """

    experiment: str | None = None
    models: tuple[str, ...] = ()
    testsets: tuple[str, ...] = ()
    weights: Mapping[str, str] | None = None
    folder: tuple[str, Path] | None = None
    limit: int | None = None
    pattern: str | None = None
    suffix: str | None = None


def plan(asked: Asked, settings: BenchSettings, root: Path) -> tuple[list[Step], list[Missing]]:
    """Open what is there and list what is not.

    Raises:
        UsageError: for unknown names.
    """
    experiment = tables.get(asked.experiment) if asked.experiment else None
    if experiment and experiment.protocols and not settings.protocols:
        settings = replace(settings, protocols=experiment.protocols)
    if experiment and not (experiment.entries or asked.models or asked.testsets):
        return [], []  # nothing is run for it: there is only what was published
    entries = _entries(asked)
    names = asked.testsets or (experiment.testsets if experiment else _at_hand())
    optional = experiment is not None and experiment.optional and not asked.testsets
    missing: list[Missing] = []
    opened = list(_opened(names, asked.limit, optional, missing))
    if not opened and optional:
        missing.append(
            Missing("none of its test sets is available locally", "rainrag ingest NAME, or --testset NAME=FOLDER")
        )
    steps, loaded = [], {}
    if not opened:  # what else would be missing
        for entry in entries:
            _entrant(entry, (), asked, missing)
    for found in opened:
        for entry in entries:
            key = (entry, found.testset.kin if entry.weights is None else ())
            if key not in loaded:
                loaded[key] = _entrant(entry, key[1], asked, missing)
            entrant = loaded[key]
            if entrant is not None:
                steps.append(_step(entrant, found, settings, root))
    return steps, list(dict.fromkeys(missing))


def _at_hand() -> tuple[str, ...]:
    """Test sets with targets that can be opened; the user's own splits where there is none."""
    return tuple(n for n in testsets.at_hand() if testsets.get(n).paired) or DEFAULT


def _entries(asked: Asked) -> tuple[Entry, ...]:
    given = dict(asked.weights or {})
    if "" in given and len(asked.models) > 1:
        raise UsageError("--weights of which model?", hint="--weights NAME=FILE, once for each")
    rows = tables.get(asked.experiment).entries if asked.experiment else ()
    if asked.models and rows:
        rows = tuple(e for e in rows if e.model in asked.models)
    rows = rows or tuple(Entry(m) for m in asked.models or ("unirain",))
    return tuple(
        replace(e, weights=given.get(e.model, given.get("", e.weights)), train="" if e.model in given else e.train)
        for e in rows
    )


def _opened(names: Sequence[str], limit: int | None, optional: bool, missing: list[Missing]) -> Iterator[Opened]:
    for name in names:
        try:
            yield testsets.open_set(name, limit)
        except MissingError as e:
            if not optional:
                missing.append(Missing(e.what, e.hint))


def _entrant(entry: Entry, kin: Sequence[str], asked: Asked, missing: list[Missing]) -> Entrant | None:
    if asked.folder is not None:
        name, folder = asked.folder
        return Entrant(name, folder=folder, pattern=asked.pattern, suffix=asked.suffix)
    if entry.train and entry.weights and not (workspace.home() / entry.weights).exists():
        missing.append(Missing(f"the weights of '{entry.label or entry.model}' ({entry.weights})", entry.train))
        return None
    try:
        return submissions.find(entry.model, entry.weights, kin)
    except MissingError as e:
        missing.append(Missing(e.what, e.hint))
    except UsageError:
        raise
    except RainRAGError as e:
        missing.append(Missing(f"'{entry.model}' cannot be loaded: {e.what}", e.hint))
    return None


def _step(entrant: Entrant, opened: Opened, settings: BenchSettings, root: Path) -> Step:
    paths = [
        root / opened.name / f"{results.stem(entrant.name, entrant.weights_sha256, p.name, settings.tile)}.json"
        for p in settings.of(opened.testset)
    ]
    return Step(entrant, opened, settings, root, paths, all(is_there(p, opened) for p in paths))


# ---------------------------------------------------------------- where, and training first
@contextlib.contextmanager
def results_root(out: Path | None, smoke: bool) -> Iterator[Path]:
    """The folder of results; for a smoke test one that is removed at the end."""
    if not smoke:
        yield out or workspace.place("results")
        return
    with tempfile.TemporaryDirectory(prefix="rainrag-smoke-") as folder:
        yield Path(folder)


def train(name: str, recipe: str, data: Path | None, advance: Callable[[int], None]) -> str:
    """Train a model by a recipe, or go on with its run, or take the run that is done.

    Returns:
        The folder of its weights.
    """
    from rainrag import training

    loaded = training.load(recipe)
    out = workspace.place("runs", f"bench-{name}-{loaded.name}")
    made = out / "weights"
    if (out / "result.json").is_file():
        return str(made)
    resume = (out / "checkpoints" / "last.ckpt").is_file()
    request = training.Request(name, (data or workspace.place("splits"),), loaded, out, resume)
    training.train(request, advance=advance)
    return str(made)
