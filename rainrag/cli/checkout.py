"""Commands that need a checkout: the networks, benchmarks and leaderboard are not in the wheel."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from rainrag.errors import MissingError


def require(*folders: str) -> None:
    """Make sure that folders of the repository (``baselines``, ``benchmarks``, ``leaderboard``) can be imported.

    Their names are generic: a package of the same name from elsewhere does not count.

    Raises:
        MissingError: with the way to get a checkout.
    """
    for folder in folders:
        spec = find_spec(folder)
        roots = [Path(p).parent for p in spec.submodule_search_locations or ()] if spec else []
        if any((root / "rainrag" / "records.py").is_file() and (root / "pyproject.toml").is_file() for root in roots):
            continue
        elsewhere = f", and the package of that name in {roots[0]} is another one" if roots else ""
        raise MissingError(
            f"this command needs the repository's folder '{folder}', which the installed package does not have{elsewhere}",
            hint="get the sources (the repository, or the sdist unpacked), then run 'make' in them and use "
            ".venv/bin/rainrag, or run 'pip install -e .' there",
        )
