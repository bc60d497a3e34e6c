"""Objects by name: one literal table ``name -> "module:attr"`` per kind of thing, extended by entry points and addresses.

A name is looked up in the table, then among the entry points of installed packages. Nothing is imported before it is
asked for. An address ``module:attr`` imports what it names, so it is accepted only by ``resolve``, for what a user typed;
names that come from a file (a manifest, a result) go through ``get``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from rainrag.core.errors import InputError, UsageError, did_you_mean, first_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


def load(address: str) -> Any:
    """The object at ``module:attr``.

    Raises:
        ImportError: when there is no such module, or it cannot be imported.
        AttributeError: when the module has no such attribute.
    """
    module, _, attr = address.partition(":")
    return getattr(import_module(module), attr)


@dataclass(frozen=True)
class Registry(Generic[T]):
    """One kind of thing by name.

    Args:
        what: the kind in an error message: ``source``.
        table: name -> "module:attr"; it is read at each look-up and is never written to.
        group: of entry points, by which an installed package adds names: ``rainrag.sources``. A name of the table
            wins over an entry point of the same name. Empty for none.
        hint: what follows the nearest names in an error message.
        also: other names that a user may have meant.
        example: an address in an error message.
    """

    what: str
    table: Mapping[str, str]
    group: str = ""
    hint: str = ""
    also: tuple[str, ...] = ()
    example: str = "package.module:NAME"

    def names(self) -> list[str]:
        """Names of the table, in its order."""
        return list(self.table)

    def installed(self) -> list[str]:
        """Names that installed packages add, sorted."""
        return sorted({p.name for p in self._points()} - set(self.table))

    def __contains__(self, name: object) -> bool:
        return name in self.table or name in self.installed()

    def get(self, name: str) -> T:
        """What a name stands for.

        Raises:
            UsageError: with the nearest names, for an unknown one.
            InputError: when a package adds the name but cannot be loaded, or two packages add it.
        """
        if name in self.table:
            return cast(T, load(self.table[name]))
        points = [p for p in self._points() if p.name == name]
        if not points:
            near = did_you_mean(name, [*self.table, *self.installed(), *self.also])
            raise UsageError(f"no {self.what} '{name}'", hint=f"{near} {self.hint}".rstrip())
        return cast(T, self._loaded(name, points))

    def resolve(self, spec: str) -> T:
        """What a name or an address ``module:attr`` stands for; an address is imported.

        Raises:
            UsageError: as ``get``; for an address at which nothing is.
            InputError: as ``get``.
        """
        if ":" not in spec or spec in self.table:
            return self.get(spec)
        try:
            return cast(T, load(spec))
        except (ImportError, AttributeError, ValueError) as e:
            hint = f"{self.example}, importable from here"
            raise UsageError(f"no {self.what} at '{spec}': {e}", hint=hint) from e

    def _points(self) -> list[EntryPoint]:
        if not self.group:
            return []
        from importlib.metadata import entry_points

        return list(entry_points(group=self.group))

    def _loaded(self, name: str, points: list[EntryPoint]) -> Any:
        values = sorted({p.value for p in points})
        if len(values) > 1:
            raise InputError(
                f"two packages add the {self.what} '{name}': {', '.join(values)}", hint="uninstall one of the two"
            )
        try:
            return points[0].load()
        except Exception as e:  # a package of others may fail in any way while it is imported
            raise InputError(
                f"the {self.what} '{name}' at {values[0]} cannot be loaded: {first_line(e)}",
                hint="update or uninstall the package that adds it",
            ) from e
