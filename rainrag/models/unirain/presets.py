"""Sizes of UniRain: presets, their fields, and how a saved configuration is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from rainrag.core.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Preset:
    """Sizes of a network.

    Args:
        widths: channels of levels 1 to 4.
        encoder_blocks: of levels 1 to 3.
        latent_blocks: of level 4.
        decoder_blocks: of levels 1 to 3.
        refinement_blocks: after the decoder, as wide as its level 1.
        heads: of levels 1 to 4.
        expansion: of the feed-forward parts.
        stem: side of the squares of pixels that the first convolution takes as one: level 1 works at 1 / stem of the
            resolution.
        gated_levels: this number of levels, from the first, are gated convolutions without attention or mixtures.
        lean: gated feed-forward parts in all blocks, changes of size as one matrix product, and a decoder of C channels
            in level 1. Otherwise Restormer's: GDFN, 3x3 convolutions, and 2C.
        cell: side of the cells of gated levels' channel attention; None for none.
    """

    widths: tuple[int, int, int, int]
    encoder_blocks: tuple[int, int, int]
    latent_blocks: int
    decoder_blocks: tuple[int, int, int]
    refinement_blocks: int
    heads: tuple[int, int, int, int]
    expansion: float
    stem: int = 1
    gated_levels: int = 0
    lean: bool = False
    cell: int | None = None


PRESETS = {
    "tiny": Preset((32, 64, 128, 192), (1, 1, 1), 2, (1, 1, 1), 1, (1, 1, 2, 2), 1.0, 2, 2, True),
    "small": Preset((48, 96, 160, 256), (2, 2, 2), 3, (2, 2, 2), 2, (1, 1, 2, 4), 1.0, 2, 2, True),
    "base": Preset((48, 96, 192, 384), (4, 7, 5), 8, (4, 5, 3), 4, (1, 2, 4, 8), 2.4),
    "tiny-v1": Preset((16, 24, 32, 48), (1, 1, 1), 1, (1, 1, 1), 1, (1, 1, 2, 2), 2.0),
}
#: The fields that version 1 wrote to config.json: all of them and no other mean a network of that version.
_V1 = {f.name for f in fields(Preset)[:7]}


def sized(preset: str, overrides: Mapping[str, Any]) -> Preset:
    """A preset with some fields changed; lists, as JSON has them, are taken for tuples. A configuration that was saved
    before there were lean networks is read as it was meant.

    Raises:
        UsageError: for a field that is not there.
    """
    known = [f.name for f in fields(Preset)]
    unknown = [k for k in overrides if k not in known]
    if unknown:
        raise UsageError(f"UniRain has no argument '{unknown[0]}'", hint=did_you_mean(unknown[0], known))
    given: dict[str, Any] = {
        k: tuple(v) if isinstance(v, Sequence) else v for k, v in overrides.items() if v is not None
    }
    return Preset(**given) if set(given) == _V1 else replace(PRESETS[preset], **given)
