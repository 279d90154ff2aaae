"""Data that tests of several rooms share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinylesions.datasets.phantoms import write_drac, write_idrid_segmentation


@pytest.fixture(scope="session")
def idrid_phantoms(tmp_path_factory) -> Path:
    """IDRiD's layout with 2 photos to train on, 1 to validate on (IDRiD_02) and 2 to test on; not to be changed."""
    return write_idrid_segmentation(tmp_path_factory.mktemp("idrid"), training=3, testing=2, size=(192, 256))


@pytest.fixture(scope="session")
def drac_phantoms(tmp_path_factory) -> Path:
    """DRAC2022's layout with 6 images to train on, 2 to validate on and 2 to test on; not to be changed.

    Of the three lesions 5, 5 and 2 of the images to train on hold each, and 2, 2 and 1 of those to validate on.
    """
    return write_drac(tmp_path_factory.mktemp("drac"), training=8, test=2, size=(128, 128))
