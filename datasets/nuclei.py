"""The classes of nuclei, in the order of the numbers in the official labels."""

from __future__ import annotations

__all__ = ["CONIC_CLASSES", "MONUSAC_CLASSES"]

CONIC_CLASSES = ("background", "neutrophil", "epithelial", "lymphocyte", "plasma", "eosinophil", "connective")
"""The classes of CoNIC; the place of each is its number in `labels.npy`."""

MONUSAC_CLASSES = ("background", "epithelial", "lymphocyte", "macrophage", "neutrophil")
"""The classes of MoNuSAC; its XML names them, without the background and in any case of the letters."""
