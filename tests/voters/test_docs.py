"""docs/voters.md says what is asked, and docs/add-a-voter.md works as written."""

from __future__ import annotations

import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from rainrag.core.images import encode_png
from rainrag.core.types import Question, Shown
from rainrag.voters import VOTERS, create, prompt
from rainrag.voters.endpoint import Server
from rainrag.voters.mobilevlm import MobileSettings
from tests.conftest import picture, rainy

DOCS = Path(__file__).parents[2] / "docs"


def test_the_prompt_in_the_docs_is_the_prompt() -> None:
    text = " ".join((DOCS / "voters.md").read_text().replace("> ", " ").split())
    asked = prompt.Prompt()
    instructions = [asked.instruction(3, "images"), asked.instruction(3, "montage"), asked.instruction(0, "images")]
    for part in (*instructions, asked.closing(3), asked.closing(0)):
        assert part in text


def test_every_voter_and_setting_is_in_the_docs() -> None:
    text = (DOCS / "voters.md").read_text()
    for kind in (Server, MobileSettings):
        for field in fields(kind):
            assert f"`{field.name}`" in text, field.name
    for name in VOTERS:
        assert f"`{name}`" in text, name


def test_the_worked_example_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS / "add-a-voter.md").read_text()
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    spec = re.search(r"--voters (\w+:\w+)", text)
    assert spec is not None
    module = spec[1].split(":")[0]
    (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        voter = create(spec[1], tolerance=1.5)
        voter.setup()
        clean = picture(1, 96, 64)
        wet = [Shown(f"wet/{i}", "0" * 64, encode_png(rainy(clean, i))) for i in range(4)]
        dry = Shown("dry", "0" * 64, encode_png(picture(1, 96, 64) // 8 + 100))
        ballots = voter.vote([Question(wet[3], tuple(wet[:3])), Question(dry, tuple(wet[:3])), Question(dry, ())])
        assert [b.answer for b in ballots] == ["yes", "no", "abstain"]
        assert [b.key for b in ballots] == ["wet/3", "dry", "dry"]
        assert create(spec[1], tolerance=2.0).prompt != voter.prompt
    finally:
        sys.modules.pop(module, None)
