"""Fixtures of the voters' tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Tiny matrices gain nothing from threads, and other tests run beside."""
