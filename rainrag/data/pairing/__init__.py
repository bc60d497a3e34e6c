"""Pairing: which rainy file belongs to which clean file, from names alone. Standard library only.

Two lists of names (``pair_lists``) are joined by the first of a few rules that places the most files: equal names, then
names without what the field adds to them (marks of the sides, leading zeros, ``x2``, a network's suffix), then many
rainy versions of one clean image. One folder (``pair_folder``) is first divided into sides, by the names of its folders
or by marks in file names. No file is paired with itself, by order, or where two partners are possible: each file that
is not in a pair comes back with a reason.
"""

from __future__ import annotations

from rainrag.data.pairing.folder import pair_folder
from rainrag.data.pairing.lists import pair_lists
from rainrag.data.pairing.patterns import sides
from rainrag.data.pairing.records import Left, Pair, Pairing

__all__ = ["Left", "Pair", "Pairing", "pair_folder", "pair_lists", "sides"]
