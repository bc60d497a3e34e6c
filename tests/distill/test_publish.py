"""What is published, and how: licences, a broken upload that goes on, what the repository then holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import constants

from rainrag.core.errors import InputError, MissingError
from rainrag.distill import pipeline, publish
from tests.distill.hub import Hub, serving
from tests.distill.light import contents


@pytest.fixture
def splits(request_of: Any, tmp_path: Path) -> Path:
    pipeline.make(request_of(), tmp_path / "splits")
    return tmp_path / "splits"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as made:
        monkeypatch.setattr(constants, "ENDPOINT", made.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setenv("HF_TOKEN", "right")
        huggingface_hub.close_session()
        yield made
    huggingface_hub.close_session()


def sources(folder: Path) -> dict[str, int]:
    """Source -> rows with pixels."""
    found: dict[str, int] = {}
    for path in folder.glob("data/*/*.parquet"):
        for r in pq.read_table(path, columns=["source", "lq"]).to_pylist():
            assert r["lq"]["bytes"]
            found[r["source"]] = found.get(r["source"], 0) + 1
    return found


def test_pixels_only_where_the_licence_permits(splits: Path) -> None:
    every = sources(splits)
    assert set(every) == {"closed", "free", "night"}
    parcel = publish.pack(splits)
    assert sources(parcel.folder) == parcel.pixels == {"free": every["free"]}
    assert parcel.withheld == {k: n for k, n in every.items() if k != "free"}
    for name in ("splits.lock", "ballots/train-00000.parquet", "verdicts/train-00000.parquet"):
        assert (parcel.folder / name).read_bytes() == (splits / name).read_bytes()
    card = (parcel.folder / "README.md").read_text()
    assert "rainrag verify" in card
    assert f"{every['closed']} of closed (unstated)" in card
    named = {c["config_name"]: c["data_files"] for c in yaml.safe_load(card.split("---")[1])["configs"]}
    for files in named.values():
        for split in files:
            paths = [split["path"]] if isinstance(split["path"], str) else split["path"]
            assert all(any(parcel.folder.glob(p)) for p in paths), "the card names what is not there"


def test_all_pixels_for_who_has_the_rights(splits: Path) -> None:
    parcel = publish.pack(splits, rights=True)
    assert sources(parcel.folder) == sources(splits)
    assert parcel.withheld == {}
    shards = {str(p.relative_to(splits)): p.read_bytes() for p in splits.glob("data/*/*.parquet")}
    assert shards == {str(p.relative_to(parcel.folder)): p.read_bytes() for p in parcel.folder.glob("data/*/*.parquet")}


@pytest.mark.parametrize(
    ("licence", "free"),
    [("CC-BY-NC-SA-4.0", True), ("mit", True), (" CC0-1.0 ", True), ("unstated", False), (None, False), ("", False),
     ("research only", False), ("MIT (README, of the code)", False), ("generated; the background's terms apply", False),
     ("BSD-3-like text, headed 'All rights reserved'", False)],
)  # fmt: skip
def test_which_licences_permit(licence: str | None, free: bool) -> None:
    assert publish.permits(licence) is free


def test_a_broken_push_goes_on_where_it_stopped(splits: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "TOGETHER", 4)
    parcel = publish.pack(splits, rights=True)
    hub.commits_left = 1
    with pytest.raises(MissingError, match="broke off"):
        publish.push(parcel, "me/rain")
    assert len(hub.files) == 4
    uploaded = list(hub.uploads)
    hub.commits_left = None
    sent = publish.push(publish.pack(splits, rights=True), "me/rain")
    assert sent["there"] == 4
    assert sent["sent"] == len(parcel.files) - 4
    assert uploaded
    assert set(hub.uploads[len(uploaded) :]).isdisjoint(uploaded), "no large file is sent twice"
    assert hub.files == contents(parcel.folder)
    assert hub.commits[-1][-1] == "README.md", "the card comes last"
    assert publish.push(parcel, "me/rain") == {**sent, "sent": 0, "there": len(parcel.files)}


def test_shards_of_an_earlier_state_go(splits: Path, hub: Hub, request_of: Any) -> None:
    publish.push(publish.pack(splits, rights=True), "me/rain")
    hub.files["notes.md"] = b"the user's own"
    parcel = publish.pack(splits)
    sent = publish.push(parcel, "me/rain")
    assert sent["removed"] > 0
    assert {k: v for k, v in hub.files.items() if k != "notes.md"} == contents(parcel.folder)
    assert hub.files["notes.md"] == b"the user's own"


def test_refusals(splits: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parcel = publish.pack(splits)
    with pytest.raises(InputError, match="repository"):
        publish.push(parcel, "no/such/name")
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(MissingError, match="let you write") as e:
        publish.push(parcel, "me/rain")
    assert "wrong" not in str(e.value)
    with pytest.raises(MissingError, match="no finished"):
        publish.pack(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    with pytest.raises(MissingError, match="reached"):
        publish.push(parcel, "me/rain")
