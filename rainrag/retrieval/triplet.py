"""Relation triplets: caption T, feature f and image I of a picture (paper, section 3.1), and what the voters measure.

The same object makes the triplets of references and of queries; what it is made of is the store's identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rainrag.core import images
from rainrag.core.images import F32, U8
from rainrag.data import rain_layer
from rainrag.retrieval import encoders
from rainrag.retrieval.encoders import nature, rain
from rainrag.retrieval.encoders.embedded import Embedded

STRUCTURE = 256  # side of the luma that SSIM compares (eq. 3)


@dataclass(frozen=True)
class Triplet:
    """One picture in numbers.

    Args:
        caption: T.
        text: unit vector of T.
        feature: f.
        structure: (256, 256) uint8 luma of I.
        signals: name -> vector for the statistical voters: ``rain``, ``texture``, ``nature``, ``alone``.
        night: lit like night.
        drops: looks like drops on glass rather than streaks (stratum of the calibration).
    """

    caption: str
    text: F32
    feature: F32
    structure: U8
    signals: dict[str, F32]
    night: bool
    drops: bool

    @property
    def stratum(self) -> str:
        """Group for calibration: lighting and kind of rain, as measured."""
        return ("night" if self.night else "day") + ("-drops" if self.drops else "-streaks")


@dataclass
class Triplets:
    """Makes triplets of pictures.

    Args:
        captioner, encoder, refine: as ``rainrag.retrieval.encoders.create`` takes them.
        settings: further settings for them (device, batch size).
    """

    captioner: str = "embedded"
    encoder: str = "embedded"
    refine: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    _made: Any = field(default=None, repr=False, compare=False)
    _own: Embedded | None = field(default=None, repr=False, compare=False)

    def identity(self) -> dict[str, Any]:
        """What vectors depend on; a store and its queries must agree in it."""
        return {
            **self._encoders().identity(),
            "signals": {"rain": rain.VERSION, "nature": nature.VERSION, "alone": rain_layer.VERSION},
            "structure": STRUCTURE,
        }

    def choice(self) -> dict[str, Any]:
        """The specs, as a store's manifest keeps them: ``Triplets(**choice)`` makes the same triplets."""
        return {
            "captioner": self.captioner,
            "encoder": self.encoder,
            "refine": list(self.refine),
            "settings": self.settings,
        }

    @property
    def batch(self) -> int:
        """Pictures to pass at once: models of the Hub and servers take several, the embedded ones one after another."""
        if (self.captioner, self.encoder, self.refine) == ("embedded", "embedded", ()):
            return 1
        return int(self.settings.get("batch_size") or encoders.Compute().batch_size)

    @property
    def gpus(self) -> float:
        """Share of a GPU that a worker takes on a cluster which has some."""
        local = self.captioner.startswith("blip") or self.encoder.startswith("clip") or bool(self.refine)
        return 0.25 if local else 0.0

    def setup(self) -> None:
        """Load the models, once."""
        if self._own is None:
            self._own = Embedded()
            self._own.setup()

    def _encoders(self) -> Any:
        if self._made is None:
            self._made = encoders.create(self.captioner, self.encoder, refine=self.refine, **self.settings)
        return self._made

    def __getstate__(self) -> dict[str, Any]:
        """Models stay behind when the object travels to a worker."""
        return {**self.__dict__, "_made": None, "_own": None}

    def __call__(self, pictures: Sequence[U8]) -> list[Triplet]:
        """Triplets of (H, W, 3) uint8 pictures, each picture passing the backbone once."""
        self.setup()
        assert self._own is not None
        captions, features, textures, described = self._own.everything(pictures)
        made = self._encoders()
        if self.captioner != "embedded":
            captions = made.caption(pictures)
        elif self.refine:
            captions = made.refined(captions)
        if self.encoder != "embedded":
            features, texts = made.images(pictures), made.texts(captions)
        else:
            texts = self._own.texts(captions)
        return [
            Triplet(
                caption=captions[i],
                text=texts[i],
                feature=features[i],
                structure=images.grey(p, (STRUCTURE, STRUCTURE)).astype(np.uint8),
                signals={
                    "rain": described[i],
                    "texture": textures[i],
                    "nature": nature.describe(p),
                    "alone": rain_layer.alone(p),
                },
                night=images.is_night(p),
                drops=_drops(described[i]),
            )
            for i, p in enumerate(pictures)
        ]


def _drops(d: F32) -> bool:
    """Whether the picture looks like drops on glass: locally soft, without aligned streaks."""
    return rain.word(d, "soft-cells") > 0.8 and rain.word(d, "straightness") < 0.9
