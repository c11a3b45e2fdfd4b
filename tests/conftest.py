"""Fixtures that several rooms' tests share."""

import os
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets, which is not part of the project."""
    folder = Path(os.environ.get("DENSEVIT_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set DENSEVIT_SHARED_DATA to the folder that holds camvid11")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """What is remembered about labels stays inside the test."""
    monkeypatch.setenv("DENSEVIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def forget_compiled_graphs():
    """A test that compiles starts afresh: code seen at other sizes before is traced with symbols for them, slowly."""
    yield
    if "torch._dynamo" in sys.modules:
        sys.modules["torch"].compiler.reset()
