"""Which network restores: the shipped UniRain, one of your own, one from the Hub, or a published one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rainrag.core import hub
from rainrag.core.errors import InputError, MissingError
from rainrag.core.files import read_json
from rainrag.models.input_spec import Contract

#: Set of weights in the wheel that is used when none is named.
SHIPPED = "tiny"
#: Where the published networks are found; an address, for they lie to the right of this package.
PUBLISHED = "rainrag.baselines.finder:find"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Model:
    """A network ready for a Restorer.

    Args:
        name: of the network.
        weights: where its weights come from, as shown to the user; None where it has none.
        network: torch module in evaluation mode.
        contract: what it takes.
    """

    name: str
    weights: str | None
    network: Any
    contract: Contract


#: ``finder(name, weights)``: a network that is not in this package.
Finder = Callable[[str, "str | Path | None"], Model]


def shipped() -> list[str]:
    """Names of the sets of weights that came with the package."""
    root = _shipped_folder("")
    return sorted(p.name for p in root.iterdir() if (p / "config.json").is_file()) if root.is_dir() else []


def _shipped_folder(name: str) -> Path:
    import rainrag.models.unirain

    return Path(rainrag.models.unirain.__file__).parent / "weights" / name


def unirain(weights: str | Path | None = None) -> Model:
    """A UniRain with weights.

    Args:
        weights: name of a shipped set (None for ``tiny``), a folder with ``config.json`` and ``model.safetensors``, a
            safetensors file with ``config.json`` beside it, or a Hub repository ``owner/name``, whose revision is
            recorded at first use and checked after.

    Raises:
        MissingError: when they are not there.
        InputError: when they are of another network.
    """
    given = str(weights or SHIPPED)
    path = Path(given)
    if weights is None or given in shipped():
        folder = _shipped_folder(given)
        if not (folder / "config.json").is_file():
            raise MissingError(
                f"the weights '{given}' are not in this installation",
                where=folder,
                hint="name others with --weights FOLDER, or train: rainrag train --model unirain --data DIR",
            )
        return _from_folder(folder, given)
    if path.is_dir():
        return _from_folder(path, given)
    if path.is_file():
        return _from_file(path)
    if _HUB_ID.fullmatch(given) and not path.suffix:
        return _from_hub(given)
    raise MissingError(
        "no such weights",
        where=given,
        hint=f"a folder, a .safetensors file, owner/name on the Hub, or a shipped set: {', '.join(shipped()) or 'none'}",
    )


def _from_folder(folder: Path, shown: str) -> Model:
    missing = [n for n in ("config.json", "model.safetensors") if not (folder / n).is_file()]
    if missing:
        raise MissingError(
            f"no {' and no '.join(missing)} in this folder",
            where=folder,
            hint="UniRain.save_pretrained writes both; for another network add --model NAME and name its weights file",
        )
    return _loaded(folder / "model.safetensors", shown)


def _from_file(path: Path) -> Model:
    if path.suffix != ".safetensors" or not path.with_name("config.json").is_file():
        raise InputError(
            "a UniRain is a .safetensors file with its config.json beside it",
            where=path,
            hint="name the folder that UniRain.save_pretrained wrote; for another network add --model NAME",
        )
    return _loaded(path, str(path))


def _loaded(file: Path, shown: str) -> Model:
    """Without ``from_pretrained``, which prints to stdout where weights are local."""
    from safetensors.torch import load_file

    from rainrag.models.unirain.network import UniRain

    try:
        network = UniRain(**read_json(file.with_name("config.json")))
        network.load_state_dict(load_file(file), strict=True)
    except Exception as e:  # a config's, safetensors' and torch's own kinds all mean the same here
        raise _of_another(file, e) from e
    return Model("unirain", shown, network.eval(), Contract(multiple=network.multiple))


def _from_hub(name: str) -> Model:
    from rainrag.models.unirain.network import UniRain

    found = hub.resolve(name)
    pinned: dict[str, Any] = dict(found.kwargs)
    try:
        network = UniRain.from_pretrained(found.path, strict=True, **pinned)
    except Exception as e:  # the Hub's, safetensors' and torch's own kinds all mean the same here
        raise _of_another(name, e) from e
    return Model("unirain", f"{name}@{found.revision}", network.eval(), Contract(multiple=network.multiple))


def _of_another(where: object, e: Exception) -> InputError:
    first = next((line.strip() for line in str(e).splitlines() if line.strip()), type(e).__name__)
    return InputError(
        f"cannot be loaded as UniRain: {first}",
        where=where,
        hint="for another network add --model NAME; else fetch again",
    )


def find(model: str | None = None, weights: str | Path | None = None, others: Finder | None = None) -> Model:
    """A network by name.

    Args:
        model: ``unirain`` (the default), or a network of ``rainrag models``.
        weights: see ``unirain``; for another network its file.
        others: finds other networks; default: the published ones.

    Raises:
        RainRAGError: of the kind that fits, with a hint.
    """
    if model is None or model.lower() == "unirain":
        return unirain(weights)
    return (others or _published())(model, weights)


def _published() -> Finder:
    from importlib import import_module

    module, attr = PUBLISHED.split(":")
    finder: Finder = getattr(import_module(module), attr)
    return finder
