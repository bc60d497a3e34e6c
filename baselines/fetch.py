"""Published weights: fetched where a program can, else the steps for a person; known again by their sha256.

Files lie in ``FOLDER/TAG/FILE``. A checksum that the authors or the card publish is checked; every other is recorded at
the first download and checked after. What was fetched is opened before it is recorded: hosts answer with web pages when
they refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rainrag import baselines
from rainrag.baselines import checkpoint
from rainrag.core.errors import InputError, MissingError, UsageError, did_you_mean
from rainrag.core.files import sha256_file
from rainrag.core.http import download

if TYPE_CHECKING:
    from rainrag.baselines.card import Card, Weights
    from rainrag.core.types import Archive

#: What weights files are called.
SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", ".pth.tar")
ALL = "all"

#: called with (bytes so far, total or None)
Report = Callable[[int, int | None], None]


class Records(Protocol):
    """Checksums as they were at first use (``rainrag.data.download.Recorded``); ``known`` are all, ``network/tag/file``."""

    known: dict[str, str]

    def check(self, name: str, value: str, published: str | None = None) -> None:
        """Compare with what was published or recorded; remember it the first time."""


@dataclass(frozen=True)
class Hosts:
    """What fetching needs from outside.

    Args:
        recorded: checksums of earlier downloads.
        pin: Hub repository -> commit, the recorded one after the first time.
        report: progress of a download, or None.
    """

    recorded: Records
    pin: Callable[[str], str]
    report: Report | None = None


@dataclass(frozen=True)
class File:
    """A weights file available locally.

    Args:
        network: name.
        tag: of the card's weights, or the name of its folder where the card has no such weights.
        sha256: of its content.
        status: ``published`` (the card's sha256), ``recorded`` (as at the first download), ``changed`` (neither), or
            ``unknown`` (put here by hand).
        loads: whether it loads strictly; None where that was not tried.
        reason: why it does not load.
    """

    network: str
    tag: str
    path: Path
    sha256: str
    status: str
    loads: bool | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain dictionary for ``--json``."""
        return {**self.__dict__, "path": str(self.path)}


# ---------------------------------------------------------------- what there is
def usable(card: Card) -> list[Weights]:
    """Weights that may be loaded."""
    return [w for w in card.weights if w.refused is None]


def choose(card: Card, tag: str | None) -> list[Weights]:
    """The weights meant by a tag: ``all`` for every usable one, None where there is only one.

    Raises:
        MissingError: when none were published.
        UsageError: for an unknown tag, or none where there are several.
        InputError: for weights that must not be loaded, with the reason.
    """
    offered = usable(card)
    if not card.weights:
        raise MissingError(
            f"no weights of '{card.name}' were published",
            where=card.repo or None,
            hint=f"rainrag models {card.name} shows what was; weights of your own load from any path",
        )
    if tag == ALL or (tag is None and len(offered) == 1):
        return offered
    tags = [w.tag for w in offered]
    if tag is None:
        raise UsageError(f"'{card.name}' has {len(tags)} sets of weights", hint=f"--tag {', '.join(tags)} or {ALL}")
    for w in card.weights:
        if w.tag == tag:
            if w.refused:
                raise InputError(
                    f"'{tag}' is not for '{card.name}': {w.refused}", hint=f"usable: {', '.join(tags) or 'none'}"
                )
            return [w]
    raise UsageError(f"'{card.name}' has no weights '{tag}'", hint=did_you_mean(tag, [*tags, ALL]))


#: host -> what a person does, and the address from the archive's ``ref``.
_BY_HAND = {
    "baidu": ("open the Baidu Netdisk link and enter the code", "{}"),
    "gdrive": ("open in a browser", "https://drive.google.com/open?id={}"),
    "hub": ("open the repository on the Hugging Face Hub", "{}"),
}


def steps(card: Card, weights: Weights, folder: Path) -> list[str]:
    """What a person does to get a set of weights by hand, one step a line."""
    a = weights.archive
    how, address = _BY_HAND.get(a.host, ("open in a browser", "{}"))
    target = folder / weights.tag
    return [
        f"{card.title}, weights '{weights.tag}' (licence: {weights.licence})",
        f"1. {how}: {address.format(a.ref)}" + (f" (code {a.password})" if a.password else ""),
        f"2. find the weights for {', '.join(weights.trained_on)} there and put the file into {target}/",
        f"3. rainrag weights check {target}/FILE {card.name}",
    ]


# ---------------------------------------------------------------- fetching
def fetch(name: str, tag: str | None, folder: Path, hosts: Hosts) -> list[File]:
    """Fetch weights, check what came, record it.

    Args:
        name: of the network.
        tag: see ``choose``.
        folder: the files come to lie in ``folder/TAG/``.
        hosts: see ``Hosts``.

    Raises:
        MissingError: when a person has to fetch them, or the host did not answer; with the steps.
        InputError: when what came is no weights file of this network.
        IntegrityError: when it is not the file that was published or recorded.
    """
    card = baselines.card_of(name)
    found = []
    for weights in choose(card, tag):
        by_hand = "\n".join(steps(card, weights, folder))
        get = _FETCH.get(weights.archive.host)
        if get is None:
            raise MissingError(f"'{weights.tag}' of '{name}' has to be fetched by hand", hint=by_hand)
        try:
            paths = get(weights.archive, folder / weights.tag, hosts)
        except MissingError as e:
            way_out = f"{e.hint or 'try again later'}; or by hand:\n{by_hand}"
            raise MissingError(e.what, where=e.where, hint=way_out) from e
        found += [_received(name, weights, path, folder, hosts.recorded) for path in paths]
    return found


def _received(name: str, weights: Weights, path: Path, folder: Path, recorded: Records) -> File:
    """Open a file before its checksum is trusted; a folder may hold files of variants, which are kept and told of."""
    a = weights.archive
    try:
        checkpoint.read(path)
        loads, reason = loading(name, path)
        if a.name and not loads:
            raise InputError(reason or "does not load")
    except InputError as e:
        raise InputError(
            f"what came from {a.ref} is no weights file of '{name}': {e.what}",
            where=path,
            hint="look at the file; remove it and fetch again, or fetch it by hand",
        ) from e
    digest = sha256_file(path)
    recorded.check(_key(name, path, folder), digest, a.sha256)
    return File(name, weights.tag, path, digest, "published" if a.sha256 else "recorded", loads, reason)


def _key(name: str, path: Path, folder: Path) -> str:
    return f"{name}/{path.relative_to(folder).as_posix()}"


def _direct(a: Archive, folder: Path, hosts: Hosts) -> list[Path]:
    path = folder / (a.name or a.ref.rsplit("/", 1)[-1])
    if not path.exists():
        download(a.ref, path, a.sha256, hosts.report)
    return [path]


def _gdrive(a: Archive, folder: Path, hosts: Hosts) -> list[Path]:
    try:
        import gdown
    except ImportError as e:
        raise MissingError("Google Drive needs the package gdown", hint="pip install 'rainrag[drive]'") from e
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / a.name
    try:
        if not a.name:
            gdown.download_folder(id=a.ref, output=str(folder), quiet=True, resume=True)
        elif not path.exists():
            gdown.download(id=a.ref, output=str(path), quiet=True, resume=True)
    except Exception as e:  # gdown raises its own and requests' errors; all mean that Drive did not give the file
        raise MissingError(f"Google Drive did not give {a.ref}: {e}") from e
    return [path] if a.name and path.exists() else _weights_in(folder, a.ref)


def _hub(a: Archive, folder: Path, hosts: Hosts) -> list[Path]:
    import huggingface_hub as hub
    from huggingface_hub.errors import HfHubHTTPError

    revision = hosts.pin(a.ref)
    try:
        names = [a.name] if a.name else hub.list_repo_files(a.ref, revision=revision)
        for name in names:
            if name.endswith(SUFFIXES):
                hub.hf_hub_download(a.ref, name, revision=revision, local_dir=folder)
    except (HfHubHTTPError, OSError) as e:
        raise MissingError(f"the Hub repository {a.ref} cannot be fetched: {str(e).splitlines()[0]}") from e
    return _weights_in(folder, a.ref)


_FETCH: dict[str, Callable[[Archive, Path, Hosts], list[Path]]] = {"direct": _direct, "gdrive": _gdrive, "hub": _hub}


def _weights_in(folder: Path, ref: str) -> list[Path]:
    found = _weights_below(folder)
    if not found:
        raise MissingError(f"nothing that is called like weights ({', '.join(SUFFIXES)}) came from {ref}")
    return found


# ---------------------------------------------------------------- what is available locally
def loading(name: str, path: Path) -> tuple[bool, str | None]:
    """Whether a file loads strictly into a network, and why not."""
    try:
        baselines.load(name, path)
    except InputError as e:
        return False, e.what
    return True, None


def check(name: str, path: Path, recorded: Records) -> tuple[File, Weights | None]:
    """Load a file strictly and say which of the card's weights it is, by content.

    Returns:
        The file, and the card's weights; None for others, such as one's own.

    Raises:
        InputError: when it does not load, or must not be loaded.
        MissingError: when there is no such file.
    """
    card = baselines.card_of(name)
    if not path.is_file():
        raise MissingError("no such weights file", where=path, hint=f"rainrag weights fetch {name}")
    digest = sha256_file(path)
    baselines.load(name, path)
    for w in usable(card):
        if digest == w.archive.sha256:
            return File(name, w.tag, path, digest, "published", True), w
        if digest in [v for k, v in recorded.known.items() if k.startswith(f"{name}/{w.tag}/")]:
            return File(name, w.tag, path, digest, "recorded", True), w
    return File(name, "", path, digest, "unknown", True), None


def listing(folder: Path, recorded: Records) -> list[File]:
    """Weights files below ``folder/NETWORK/TAG/``, in the table's order, by content as far as it is known."""
    found = []
    for name in baselines.names():
        published = {w.archive.sha256: w.tag for w in usable(baselines.card_of(name)) if w.archive.sha256}
        for path in _weights_below(folder / name):
            digest = sha256_file(path)
            tag = path.relative_to(folder / name).parts[0]
            known = recorded.known.get(_key(name, path, folder / name))
            if published.get(digest) == tag:
                status = "published"
            elif known is None:
                status = "unknown"
            else:
                status = "recorded" if digest == known else "changed"
            found.append(File(name, tag, path, digest, status))
    return found


def _weights_below(folder: Path) -> list[Path]:
    """Weights files at any depth; hidden folders are those of the Hub's own records."""
    shown = (p for p in folder.rglob("*") if not any(part.startswith(".") for part in p.relative_to(folder).parts))
    return sorted(p for p in shown if p.is_file() and p.name.endswith(SUFFIXES))
