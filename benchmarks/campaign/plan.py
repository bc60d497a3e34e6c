"""What the campaign trains on, and how much of each."""

from __future__ import annotations

from dataclasses import dataclass

TYPES = ("DRS", "DRD", "NRS", "NRD")


@dataclass(frozen=True)
class Set:
    """A folder of pairs.

    Args:
        folder: below ``--pairs``, with ``input`` and ``target``.
        name: of the dataset.
        streak, drop: what its rain is.
        night: None to decide image by image.
    """

    folder: str
    name: str
    streak: bool
    drop: bool
    night: bool | None


SETS = (
    Set("Rain100L-train", "rain100l-train", True, False, False),
    Set("Rain800-train", "rain800", True, False, False),
    Set("DDN-train", "ddn", True, False, False),
    Set("Rain13K-sample", "rain13k", True, False, False),
    Set("GT-Rain-train", "gt-rain", True, False, False),
    Set("NTURain-frames", "nturain", True, False, False),
    Set("NiteDR-RoadScene-train", "nitedr", True, False, None),
    Set("RainDrop-train", "raindrop", False, True, False),
    Set("ROLE-raindrops-Cityscapes", "role", False, True, False),
    Set("EvoCargo-raindrops-generator", "evocargo", False, True, False),
    Set("RainCityscapes-sample", "raincityscapes", True, False, False),
)
#: Folders below ``--data`` whose images no training may show.
TESTS = (
    "Rain100L", "Rain200H/test", "Rain200L/test", "RainHeavy-small/test", "HQ-NightRain/validation",
    "NiteDR-RoadScene-rain", "RainDrop-train-sample", "Outdoor-Rain", "DDN-demo", "DID-MDN-demo",
)  # fmt: skip
#: Share of the crops by (dataset, type); they are divided by their sum. A set that is not here is not drawn from.
SHARES: dict[tuple[str, str], float] = {
    ("rain100l-train", "DRS"): 0.20,
    ("rain800", "DRS"): 0.15,
    ("nitedr", "DRS"): 0.13,
    ("ddn", "DRS"): 0.08,
    ("layers", "DRS"): 0.06,
    ("rain200h", "DRS"): 0.04,
    ("rain13k", "DRS"): 0.03,
    ("rendered", "DRS"): 0.03,
    ("gt-rain", "DRS"): 0.008,
    ("nturain", "DRS"): 0.008,
    ("raincityscapes", "DRS"): 0.004,
    ("rain200l", "DRS"): 0.003,
    ("raindrop", "DRD"): 0.09,
    ("rendered", "DRD"): 0.05,
    ("role", "DRD"): 0.012,
    ("evocargo", "DRD"): 0.004,
    ("rendered", "NRS"): 0.06,
    ("hq-nightrain", "NRS"): 0.04,
    ("nitedr", "NRS"): 0.005,
    ("rendered", "NRD"): 0.05,
}
#: Share of crops of clean photographs, which are to come back as they are.
CLEAN = 0.07
#: One scene of this many is held out for the probe.
HELD = 10
