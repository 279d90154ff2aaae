"""Data that tests of several rooms share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinylesions.datasets.phantoms import write_conic, write_drac, write_idrid_segmentation, write_monusac


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


@pytest.fixture(scope="session")
def conic_phantoms(tmp_path_factory) -> Path:
    """CoNIC's layout with 4 patches of each of 4 sources, and a folder `tiles` of pictures; not to be changed.

    The patches 0 to 3 are those to validate on and 8 to 11 those to test on, which are the pictures.
    """
    root = write_conic(tmp_path_factory.mktemp("conic"), training=8, validation=4, test=4, size=(64, 64))
    (root / "tiles").mkdir()
    for index, image in enumerate(np.load(root / "images.npy")[8:12]):
        Image.fromarray(image).save(root / "tiles" / f"patch_{index}.png")
    return root


@pytest.fixture(scope="session")
def monusac_phantoms(tmp_path_factory) -> Path:
    """MoNuSAC's layout with 3 tiles to train on, 1 to validate on and 2 to test on, of 80x112; not to be changed."""
    return write_monusac(tmp_path_factory.mktemp("monusac"), training=4, test=2, size=(80, 112))
