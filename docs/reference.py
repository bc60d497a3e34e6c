"""A page for each verb, and one of the notebook, made from the code when the site is built: they cannot go stale.

A verb's examples are the commands that the other pages show of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent

#: Where a verb is explained; what is not named here has a page of its own name.
GUIDES = {
    "explain": "score.md#explain-which-protocol-is-a-published-number-consistent-with",
    "download": "sources.md",
    "verify": "distill.md#what-comes-out",
    "report": "distill.md#what-comes-out",
    "push": "data-licences.md",
    "calibrate": "measured.md#on-your-own-store",
    "models": "baselines.md",
    "weights": "baselines.md#weights",
}


def guide(verb: str) -> str:
    """The page that explains a verb, from the folder of pages."""
    return GUIDES.get(verb, f"{verb}.md")


@cache
def pages() -> dict[str, str]:
    """Path -> Markdown of each page, verbs in their order."""
    from rainrag.cli import verbs

    shown = examples()
    made = {f"verbs/{v}.md": "\n".join(_page(v, verbs.load(v), shown.get(v, []))) for v in verbs.VERBS}
    return {**made, "api.md": "\n".join(api()), "notebook.md": notebook()}


def examples() -> dict[str, list[str]]:
    """Commands in the blocks of all pages, by verb; lines with brackets or dots are outlines, not commands."""
    found: dict[str, list[str]] = {}
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text().replace("\\\n", " ")
        fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
        blocks = [block for language, block in fenced if language in ("", "sh", "bash")]
        blocks += re.findall(
            r"^ {4}(rainrag .*)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.M
        )
        for line in "\n".join(blocks).splitlines():
            match = re.match(r"rainrag ([a-z]+)( |$)", line)
            if match and not re.search(r"\[-|…", line):
                line = re.sub(r"\s{2,}#", "  #", line.rstrip())
                if line not in found.setdefault(match[1], []):
                    found[match[1]].append(line)
    return found


def _page(name: str, command: Any, shown: list[str]) -> Iterator[str]:
    yield f"# rainrag {name}\n"
    if hasattr(command, "commands"):
        yield f"{command.help}\n"
        for below, each in command.commands.items():
            yield f"## rainrag {name} {below}\n"
            yield from _command(f"{name} {below}", each)
    else:
        yield from _command(name, command)
    if shown:
        yield "## Examples\n"
        yield "\n".join(["```sh", *shown, "```\n"])
    yield f"Explained in [{guide(name).split('.')[0]}](../{guide(name)}). Common options and exit codes: [cli](../cli.md)."


def _command(words: str, command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if not p.opts[0].startswith("-")]
    options = [p for p in command.params if p.opts[0].startswith("-") and "--help" not in p.opts]
    usage = " ".join(_argument(p) for p in arguments)
    yield f"    rainrag {words} {usage}{' ' if usage else ''}[OPTIONS]\n"
    yield re.sub(r"[ \n]*\n[ \n]*\n", "\n\n", command.help or "") + "\n"
    if arguments:
        yield from _table(["argument", "is"], [[f"`{_argument(p)}`", p.help] for p in arguments])
    if options:
        yield from _table(["option", "does", "default"], [[_option(p), p.help, _default(p)] for p in options])


def _argument(p: Any) -> str:
    name = p.name.upper() + ("..." if p.nargs != 1 else "")
    return name if p.required else f"[{name}]"


def _option(p: Any) -> str:
    if p.is_flag:
        return " / ".join(f"`{o}`" for o in (*p.opts, *p.secondary_opts))
    return f"`{p.opts[0]} {p.opts[0].lstrip('-').upper()}`"


def _default(p: Any) -> str:
    if p.is_flag:
        on, off = p.opts[0], next(iter(p.secondary_opts), "")
        return f"`{on if p.default else off}`" if off else ""
    return "" if p.default in (None, (), "") or callable(p.default) else f"`{p.default}`"


def _table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    for row in [head, ["---"] * len(head), *rows]:
        yield "| " + " | ".join(" ".join(str(cell or "").replace("|", "\\|").split()) for cell in row) + " |"
    yield ""


def api() -> Iterator[str]:
    """The page of the public API: functions with their arguments, then the records and classes, from the docstrings."""
    import dataclasses
    import inspect

    import rainrag
    from rainrag import api as module

    yield "# Python API\n"
    yield _sections(module.__doc__ or "")
    names = [n for n in rainrag.__all__ if not n.startswith("_")]
    order = list(vars(module))
    for name in sorted((n for n in names if n[0].islower()), key=order.index):
        function = getattr(module, name)
        yield f"## rainrag.{name}\n"
        yield f"```python\n{_signature(name, function)}\n```\n"
        yield _sections(inspect.getdoc(function) or "")
    yield "## Records and classes\n"
    for name in (n for n in names if n[0].isupper()):
        kind = getattr(rainrag, name)
        yield f"### rainrag.{name}\n"
        if dataclasses.is_dataclass(kind):
            yield f"Fields: {', '.join(f'`{f.name}`' for f in dataclasses.fields(kind))}.\n"
        yield _sections(inspect.getdoc(kind) or "")


def _signature(name: str, function: Any) -> str:
    """``name(...) -> result``, one argument per line."""
    import inspect

    signature = inspect.signature(function)
    lines, keyword = [], False
    for p in signature.parameters.values():
        if p.kind is p.KEYWORD_ONLY and not keyword:
            lines.append("    *,")
            keyword = True
        default = "" if p.default is p.empty else f" = {p.default!r}"
        lines.append(f"    {p.name}: {p.annotation}{default},")
    return "\n".join([f"{name}(", *lines, f") -> {signature.return_annotation}"])


def _sections(doc: str) -> str:
    """A docstring as Markdown: ``Args:`` and its like become lists, literals of reStructuredText become code."""
    doc = re.sub(r"``(.+?)``", r"`\1`", doc, flags=re.DOTALL)
    out, section = [], False
    for line in doc.splitlines():
        if heading := re.fullmatch(r"(Args|Attributes|Returns|Raises):", line):
            out += ["", f"**{heading[1]}**", ""]
            section = True
        elif section and (item := re.fullmatch(r" {4}(\w[\w, *.]*): (.*)", line)):
            out.append(f"- `{item[1]}`: {item[2]}")
        elif section and line.startswith("    "):
            out.append("  " + line.strip())
        else:
            section = section and not line
            out.append(line)
    return "\n".join(out) + "\n"


def notebook() -> str:
    """The cells of ``notebook.ipynb``, in order."""
    cells = json.loads((DOCS / "notebook.ipynb").read_text())["cells"]
    parts = []
    for cell in cells:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(parts) + "\n"
