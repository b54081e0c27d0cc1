import os

import pytest


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Durability is tested with the store; here hundreds of small files would cost seconds."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
