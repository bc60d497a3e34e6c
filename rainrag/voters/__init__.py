"""Voters by name: ``create(spec)`` makes one, ``panel(specs)`` all of a comma-separated list.

A spec is a name of the table (``llava``), a name with weights of one's own (``llava=FOLDER`` or ``llava=REPOSITORY``),
a server (``endpoint:MODEL@http://host:port/v1``), or a voter of one's own (``package.module:KIND``, optionally
``=SOURCE``). A group's name stands for its members.
"""

from __future__ import annotations

from typing import Any

from rainrag.core.errors import UsageError, did_you_mean
from rainrag.core.registry import Registry
from rainrag.core.types import Voter
from rainrag.voters.base import Kind

#: name -> "module:attr" of a Kind
VOTERS: dict[str, str] = {
    "internvl": "rainrag.voters.internvl:INTERNVL",
    "llava": "rainrag.voters.llava:LLAVA",
    "mobilevlm": "rainrag.voters.mobilevlm:MOBILEVLM",
    "mobilevlm-v2": "rainrag.voters.mobilevlm:MOBILEVLM_V2",
    "endpoint": "rainrag.voters.endpoint:ENDPOINT",
    "descriptor": "rainrag.voters.statistical:DESCRIPTOR",
    "features": "rainrag.voters.statistical:FEATURES",
    "naturalness": "rainrag.voters.statistical:NATURALNESS",
    "learned": "rainrag.voters.learned:LEARNED",
    "layer": "rainrag.voters.learned:LAYER",
}

#: group -> members
GROUPS: dict[str, tuple[str, ...]] = {
    "paper": ("internvl", "llava", "mobilevlm"),
    "statistical": ("descriptor", "features", "naturalness", "learned", "layer"),
}

_REGISTRY: Registry[object] = Registry(
    "voter",
    VOTERS,
    group="rainrag.voters",
    hint="A voter of your own: docs/add-a-voter.md",
    also=tuple(GROUPS),
    example="package.module:KIND",
)

__all__ = ["GROUPS", "VOTERS", "Kind", "create", "members", "names", "panel"]


def names() -> list[str]:
    """All names, in the table's order."""
    return list(VOTERS)


def members(specs: str) -> list[str]:
    """A comma-separated list as single specs, groups replaced by their members.

    Raises:
        UsageError: when nothing is named.
    """
    parts = [p.strip() for p in specs.split(",") if p.strip()]
    if not parts:
        raise UsageError("no voters are named", hint="--voters statistical, or --voters internvl,llava,mobilevlm")
    return [m for p in parts for m in GROUPS.get(p, (p,))]


def create(spec: str, **settings: Any) -> Voter:
    """One voter; loads nothing yet.

    Args:
        spec: one spec, as above.
        settings: of this voter; those that are None count as not given.

    Raises:
        UsageError: for an unknown name, a malformed spec, or a setting that the voter does not know.
    """
    name, source, kind = _find(spec)
    return kind.make(name, source, {k: v for k, v in settings.items() if v is not None})


def panel(specs: str, **settings: Any) -> list[Voter]:
    """All voters of a comma-separated list; each takes those of the settings that it knows.

    Raises:
        UsageError: as ``create``; for a setting that none of them knows; for two voters of one name.
    """
    found = [_find(spec) for spec in members(specs)]
    given = {k: v for k, v in settings.items() if v is not None}
    known = sorted({name for _, _, kind in found for name in kind.known})
    for setting in given:
        if setting not in known:
            raise UsageError(
                f"none of the voters '{specs}' has a setting '{setting}'", hint=did_you_mean(setting, known)
            )
    voters = [kind.make(name, src, {k: v for k, v in given.items() if k in kind.known}) for name, src, kind in found]
    for i, voter in enumerate(voters):
        if voter.name in [v.name for v in voters[:i]]:
            raise UsageError(
                f"two voters are called '{voter.name}'", hint="a voter counts once; give weights of different names"
            )
    return voters


def _find(spec: str) -> tuple[str, str | None, Kind]:
    """(name, source, kind) of one spec."""
    if spec.startswith("endpoint:"):
        name, source = "endpoint", spec.removeprefix("endpoint:")
    else:
        name, _, source = spec.partition("=")
    kind = _REGISTRY.resolve(name)
    if not isinstance(kind, Kind):
        raise UsageError(f"'{name}' is no rainrag.voters.Kind", hint="docs/add-a-voter.md shows one")
    return name, source or None, kind
