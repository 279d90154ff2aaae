"""Data that tests of several rooms share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinylesions.datasets.phantoms import write_idrid_segmentation


@pytest.fixture(scope="session")
def idrid_phantoms(tmp_path_factory) -> Path:
    """IDRiD's layout with 2 photos to train on, 1 to validate on (IDRiD_02) and 2 to test on; not to be changed."""
    return write_idrid_segmentation(tmp_path_factory.mktemp("idrid"), training=3, testing=2, size=(192, 256))
