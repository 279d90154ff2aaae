"""What the tests of the readers share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("TINYLESIONS_REAL_DATA")
    if not folder:
        pytest.skip("TINYLESIONS_REAL_DATA names no folder with real photos")
    return Path(folder)
