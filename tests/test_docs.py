"""The pages are true: the site builds strictly and needs nothing from elsewhere; commands and files named in it exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rainrag.cli import app, verbs
from rainrag.data import sources

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "README.md"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_every_page_is_in_the_menu(site: Path) -> None:
    home = (site / "index.html").read_text()
    menu = home[home.index('aria-label="Navigation"') :]
    for page in (ROOT / "docs").glob("*.md"):
        assert f'href="{page.stem}.html"' in menu or page.stem == "index", page.name


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.glob("*.html"):
        loaded = re.findall(r'<(?:script|img|iframe)[^>]*\bsrc="([^"]+)"', page.read_text())
        loaded += re.findall(r'<link[^>]*rel="(?:stylesheet|icon|preconnect)"[^>]*href="([^"]+)"', page.read_text())
        assert not [x for x in loaded if re.match(r"(https?:)?//", x)], page.name
        for local in (x.split("?")[0].lstrip("/") for x in loaded if not x.startswith("data:")):
            assert (site / local).is_file(), (page.name, local)


def test_tables_come_from_the_code(site: Path) -> None:
    assert not [p.name for p in site.glob("*.html") if "<!-- table:" in p.read_text()]
    listed = (site / "sources.html").read_text()
    assert not [name for name in sources.names() if f"<code>{name}</code>" not in listed]
    named = (site / "cli.html").read_text()
    assert not [verb for verb in verbs.VERBS if f"<code>{verb}</code>" not in named]


def options(command: Any) -> Iterator[str]:
    """Long options of a verb, and of the verbs below it."""
    for below in getattr(command, "commands", {}).values():
        yield from options(below)
    yield from (o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("--") and o != "--help")


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_every_verb_has_a_page_with_all_its_options_and_an_example(site: Path, verb: str) -> None:
    page = (site / "verbs" / f"{verb}.html").read_text()
    shown = re.sub(r"<[^>]+>", "", page[page.index("<article") : page.index("</article")])
    assert not [o for o in options(verbs.load(verb)) if f"{o} " not in shown.replace("\n", " ")]
    assert f"rainrag {verb}" in shown.split("Examples")[1]
    assert f'href="verbs/{verb}.html"' in (site / "index.html").read_text()


def test_the_api_is_a_page_with_every_name_and_argument(site: Path) -> None:
    import inspect

    import rainrag
    from rainrag import api

    page = (site / "api.html").read_text()
    shown = re.sub(r"<[^>]+>", "", page)
    for name in (n for n in rainrag.__all__ if not n.startswith("_")):
        assert f"rainrag.{name}" in shown
        named = inspect.signature(getattr(api, name)).parameters if name[0].islower() else ()
        assert not [p for p in named if not re.search(rf"\b{p}: ", shown)], name


def test_the_notebook_is_a_page(site: Path) -> None:
    assert "rainrag.distill(" in re.sub(r"<[^>]+>", "", (site / "notebook.html").read_text())


# ---------------------------------------------------------------- commands
def written(text: str) -> Iterator[str]:
    """Commands in fences of any language or none, in indented blocks (continued lines joined), and in `code` in sentences."""
    fence = r"^ *(```+|~~~+)[^\n]*\n(.*?)^ *\1"
    blocks = [block for _, block in re.findall(fence, text, flags=re.DOTALL | re.MULTILINE)]
    prose = re.sub(fence, "", text, flags=re.DOTALL | re.MULTILINE)
    blocks += re.findall(r"^(?: {4}|\t)[^\n]*(?:\n(?: {4}|\t)[^\n]*)*", prose, flags=re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]
    for line in lines:
        for part in re.split(r"\s(?:&&|\||>)\s", line):
            if found := re.match(r"\s*\$?\s*(?:[A-Z_]+=\S+\s+)*(?:\.venv/bin/|python -m )?rainrag ([a-z-].*)", part):
                yield found.group(1)


def wrong(command: str) -> str | None:
    """What is wrong with the words after ``rainrag``: an unknown verb or option."""
    words = shlex.split(command.replace("…", ""), comments=True)
    own = {"--help", "-h", "--version", "--install-completion", "--show-completion", "--quiet", "-q", "--verbose", "-v"}
    while words and words[0] in own:
        words.pop(0)
    if not words:
        return None
    if words[0] not in verbs.VERBS:
        return f"no verb {words[0]!r}"
    found = verbs.load(words.pop(0))
    while hasattr(found, "commands") and words and not words[0].startswith("-"):
        if words[0] not in found.commands:
            return None if words[0].isupper() else f"no {found.name} {words[0]!r}"
        found = found.commands[words.pop(0)]
    known = {o for p in found.params for o in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
    options = [w.split("=")[0] for w in words if re.match(r"--?[a-z]", w)]
    return next((f"{found.name} has no option {o}" for o in options if o not in known), None)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_commands_have_real_verbs_and_options(page: Path) -> None:
    problems = {command: problem for command in written(page.read_text()) if (problem := wrong(command))}
    assert not problems


def test_the_check_of_commands_can_fail() -> None:
    block = "```sh\nrainrag ingest x --rot y  # no\nrainrag store bild x\nrainrag sources --json\n```"
    other = "~~~\nX=1 rainrag score a b --protcol y\n~~~\n```\n$ rainrag audit --rot\n```\n"
    other += "as in\n\n    rainrag bench \\\n      --imges x\n"
    text = f"Try `rainrag scroe a b`.\n{block}\n{other}"
    assert [wrong(c) for c in written(text)] == [
        "ingest has no option --rot",
        "no store 'bild'",
        None,
        "score has no option --protcol",
        "audit has no option --rot",
        "bench has no option --imges",
        "no verb 'scroe'",
    ]


def test_links_to_files_of_the_repository_hold() -> None:
    for page in (p for p in PAGES if p.stem != "README"):  # which has a test of its own
        links = [t.split("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
        local = [t for t in links if t and not re.match(r"[a-z]+:", t)]
        # the site makes pages of its own
        made = {
            page.parent / "notebook.md": page.parent / "notebook.ipynb",
            page.parent / "api.md": ROOT / "rainrag" / "api.py",
        }
        assert not [t for t in local if not made.get(page.parent / t, page.parent / t).exists()], page.name


def test_exit_codes_are_those_of_the_errors() -> None:
    from rainrag.core import errors

    codes = {int(c) for c in re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "cli.md").read_text(), re.M)}
    raised = {e.exit_code for e in vars(errors).values() if isinstance(e, type) and hasattr(e, "exit_code")}
    assert raised <= codes
    assert app.info.name == "rainrag"
