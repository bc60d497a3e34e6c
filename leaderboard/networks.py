"""What the cards of the networks say, as data: the site is built without torch, which the networks themselves need.

``python -m rainrag.leaderboard.networks`` writes ``published/networks.json`` again; a test fails when it is out of date.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from rainrag.core.files import read_json, write_json

PUBLISHED = Path(__file__).parent / "published"
FILE = PUBLISHED / "networks.json"


def snapshot() -> dict[str, dict[str, Any]]:
    """Title, cost at 256x256 and published figures of every network, read from its card; UniRain's presets under
    ``unirain/PRESET``. Needs torch."""
    from rainrag import baselines
    from rainrag.evaluation import complexity

    found = {}
    for name in baselines.names():
        card = baselines.card_of(name)
        scale = (256 / card.macs_at) ** 2
        claims = [
            {k: getattr(c, k) for k in ("testset", "psnr", "ssim", "protocol", "weights", "source", "verified")}
            for c in card.claims
        ]
        found[name] = {
            "title": card.title,
            "venue": card.venue,
            "params": card.params,
            "gmacs": None if card.gmacs is None else round(card.gmacs * scale, 3),
            "claims": claims,
            "weights": {w.tag: w.note for w in card.weights if w.note},
        }
    for name in complexity.names():
        ours = complexity.of(name)
        title = f"UniRain ({name.removeprefix('unirain/')})"
        found[name] = {
            "title": title, "venue": "", "params": ours.params, "gmacs": round(ours.macs / 1e9, 3), "claims": [],
        }  # fmt: skip
    return found


@lru_cache(maxsize=1)
def load() -> dict[str, dict[str, Any]]:
    """The committed snapshot: network -> title, venue, params, gmacs (at 256x256, with attention), claims."""
    found: dict[str, dict[str, Any]] = read_json(FILE)
    return found


if __name__ == "__main__":
    write_json(FILE, snapshot())
