"""Perceptual metrics: our own NIQE, BRISQUE, LPIPS and PI, the others by pyiqa (extra ``metrics``).

One without local weights is unavailable, with the reason.

No substitutes: ST-LPIPS is not LPIPS, and is named as itself where it is asked for. Nothing is downloaded unless asked.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rainrag.core.errors import InputError, MissingError
from rainrag.core.images import U8
from rainrag.core.registry import Registry

#: Our names for pyiqa's, where the field says it otherwise.
ALIASES = {"clip-iqa": "clipiqa", "lpips-alex": "lpips", "st-lpips": "stlpips"}

#: Before a name: pyiqa's own computation of a metric that we compute too.
PYIQA = "pyiqa:"


@dataclass
class Own:
    """A metric that needs no pyiqa.

    Args:
        version: of the arithmetic and the parameters; the signature ends in it.
        compute: of an image and its target, (H, W, 3) uint8; the target is None where there is none.
    """

    name: str
    version: str
    compute: Callable[[U8, U8 | None], float]
    lower_is_better: bool = True
    needs_target: bool = False

    def __call__(self, out: U8, gt: U8 | None) -> float:
        """Score one image, (H, W, 3) uint8.

        Raises:
            InputError: when the metric is not defined for it.
        """
        return self.compute(out, gt)


def hub_folder() -> Path:
    """Where torch, torchvision and pyiqa keep downloaded files: ``$TORCH_HOME/hub``."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TORCH_HOME") or Path(cache) / "torch").expanduser() / "hub"


def niqe_metric(name: str, download: bool) -> Own:
    """NIQE with LIVE's parameters."""
    from rainrag.evaluation import niqe

    return Own(name, "rainrag-live2012", lambda out, gt: niqe.niqe(out))


def niqe_matlab(name: str, download: bool) -> Own:
    """NIQE with MATLAB's parameters, where pyiqa keeps them."""
    from rainrag.evaluation import niqe

    model = niqe.read_pristine(hub_folder() / "pyiqa" / "niqe_matlab_params.mat")
    return Own(name, "rainrag-matlab", lambda out, gt: niqe.niqe(out, model))


def brisque_metric(name: str, download: bool) -> Own:
    """BRISQUE with LIVE's parameters."""
    from rainrag.evaluation import brisque

    return Own(name, "rainrag-live770", lambda out, gt: brisque.brisque(out))


def lpips_metric(name: str, download: bool) -> Own:
    """LPIPS; the trunk follows from the name."""
    from rainrag.evaluation import lpips

    model = lpips.load(name.partition("-")[2] or "alex", hub_folder(), download)

    def compute(out: U8, gt: U8 | None) -> float:
        if gt is None:
            raise InputError("LPIPS needs a target")
        return model(out, gt)

    return Own(name, "rainrag-v0.1", compute, needs_target=True)


def pi(name: str, download: bool) -> Own:
    """The perceptual index (Blau et al., PIRM 2018): ((10 - Ma) + NIQE) / 2; Ma's score is pyiqa's ``nrqm``."""
    from rainrag.evaluation import niqe

    ma = Metric("nrqm", download)
    return Own(name, f"rainrag-live2012+{ma.version}", lambda out, gt: (10 - ma(out, None) + niqe.niqe(out)) / 2)


_HERE = "rainrag.evaluation.perceptual"
#: name -> "module:attr" of what makes a metric; every other name is looked for in pyiqa.
TABLE: dict[str, str] = {
    **dict.fromkeys(("lpips", "lpips-alex", "lpips-vgg", "lpips-squeeze"), f"{_HERE}:lpips_metric"),
    "niqe": f"{_HERE}:niqe_metric",
    "niqe_matlab": f"{_HERE}:niqe_matlab",
    "brisque": f"{_HERE}:brisque_metric",
    "pi": f"{_HERE}:pi",
    **dict.fromkeys(("st-lpips", "dists", "musiq", "clip-iqa"), f"{_HERE}:Metric"),
}


class ImageMetric(Protocol):
    """A metric of one image. What makes it is called as ``make(name, download)``.

    Attributes:
        name: as it was asked for; the column of the results.
        version: changes with the values.
        lower_is_better: of two values.
        needs_target: False for metrics that look at the restored image alone.
    """

    name: str
    version: str
    lower_is_better: bool
    needs_target: bool

    def __call__(self, out: U8, gt: U8 | None, /) -> float:
        """The value for a restored image and its target, (H, W, 3) uint8; ``gt`` is None where there is none."""
        ...


METRICS: Registry[Callable[[str, bool], ImageMetric]] = Registry("metric", TABLE, group="rainrag.metrics")


def create(name: str, download: bool = False) -> ImageMetric:
    """A metric by name: of the table, of an installed package, ``package.module:METRIC``, or of pyiqa.

    ``pyiqa:NAME`` is pyiqa's own computation, also of a metric that we compute too.

    Raises:
        MissingError: when it is unavailable; the message says why.
        UsageError: for an address at which nothing is.
    """
    if not name.startswith(PYIQA) and (":" in name or name in METRICS):
        return METRICS.resolve(name)(name, download)
    return Metric(name, download)


class Metric:
    """One perceptual metric.

    Args:
        name: pyiqa's name, or one of ``ALIASES``.
        download: let pyiqa fetch its weights.

    Raises:
        MissingError: when it is unavailable; the message says why.
    """

    def __init__(self, name: str, download: bool = False, device: str = "cpu") -> None:
        try:
            import pyiqa
        except ImportError as e:
            raise MissingError(
                f"'{name}' needs pyiqa, which is licensed for non-commercial use", hint="pip install 'rainrag[metrics]'"
            ) from e
        self.name = name
        self.version = f"pyiqa{pyiqa.__version__.split('+')[0]}" if hasattr(pyiqa, "__version__") else "pyiqa"
        name = name.removeprefix(PYIQA)
        real = ALIASES.get(name, name)
        if real not in pyiqa.list_models():
            raise MissingError(
                f"pyiqa has no metric '{name}'", hint="python -c 'import pyiqa; print(pyiqa.list_models())'"
            )
        try:
            # pyiqa prints what it does, also downloads that are about to be refused; our stdout is for results.
            said = sys.stderr if download else io.StringIO()
            with (
                contextlib.redirect_stdout(said),
                contextlib.redirect_stderr(said),
                contextlib.nullcontext() if download else _no_network(),
            ):
                self.model = pyiqa.create_metric(real, device=device)
        except MissingError:
            raise
        except Exception as e:  # pyiqa's metrics fail in many ways without their weights; the reason is passed on
            raise MissingError(
                f"'{name}' is unavailable: {type(e).__name__}: {str(e).splitlines()[0] if str(e) else 'no reason given'}",
                hint="--download lets pyiqa fetch its weights; or place the file where the message says",
            ) from e
        self.lower_is_better = bool(self.model.lower_better)
        self.needs_target = self.model.metric_mode == "FR"
        self.device = device

    def __call__(self, out: U8, gt: U8 | None) -> float:
        """Score one image, (H, W, 3) uint8."""
        import torch

        def tensor(x: U8) -> Any:
            return torch.from_numpy(np.ascontiguousarray(x)).permute(2, 0, 1)[None].float().div(255).to(self.device)

        with torch.no_grad():
            value = (
                self.model(tensor(out), tensor(gt)) if self.needs_target and gt is not None else self.model(tensor(out))
            )
        return float(value)


@contextlib.contextmanager
def _no_network() -> Iterator[None]:
    """Make every download of weights raise with the file that is missing."""
    import torch

    def refuse(url: str, dst: str, *args: Any, **kwargs: Any) -> None:
        raise MissingError(
            f"weights {os.path.basename(str(dst))} are not available locally",
            where=dst,
            hint="--download fetches them; or place the file there",
        )

    name = "download_url_to_file"  # pyiqa's and torchvision's modules hold references of their own to it
    holders = [m for m in list(sys.modules.values()) if m is not None and callable(vars(m).get(name))]
    before = {m: vars(m)[name] for m in {*holders, torch.hub}}
    urlopen = urllib.request.urlopen

    def no_url(url: Any, *args: Any, **kwargs: Any) -> None:
        refuse(str(getattr(url, "full_url", url)), os.path.basename(str(getattr(url, "full_url", url))))

    offline = os.environ.get("HF_HUB_OFFLINE")
    urllib.request.urlopen = no_url
    for module in before:
        setattr(module, name, refuse)
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        urllib.request.urlopen = urlopen
        for module, function in before.items():
            setattr(module, name, function)
        if offline is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = offline
