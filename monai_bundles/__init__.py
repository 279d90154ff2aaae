"""The registry of bundles: what each is and where its files lie; imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinylesions.datasets.errors import InputError
from tinylesions.datasets.lesions import CLASSES, OCTA_LESIONS
from tinylesions.datasets.nuclei import CONIC_CLASSES

__all__ = ["BUNDLES", "Bundle", "find_bundle"]


@dataclass(frozen=True)
class Bundle:
    """A MONAI bundle of this project.

    Attributes:
        name: its folder.
        title: what it does, in a line.
        classes: the network's classes, in channel order.
        graded: whether it also learns grades, from a second data set.
        weights_file: the trained weights below `root`: a file, or a folder with one for each of several networks.
        item: what an image is called, in sentences and names of files: a ``photo``, or a ``tile`` of tissue.
        table: what a prediction's table of all that was found is called.
        finetuning: the config that trained weights are trained further with on other photos; None where there is none.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    graded: bool = field(default=False, kw_only=True)
    weights_file: str = field(default="models/model.pt", kw_only=True)
    item: str = field(default="photo", kw_only=True)
    table: str = field(default="lesions.csv", kw_only=True)
    finetuning: str | None = field(default=None, kw_only=True)

    @property
    def root(self) -> Path:
        """The bundle's folder."""
        return Path(__file__).parent / self.name

    @property
    def weights(self) -> Path:
        """Where the bundle's trained weights lie, if it has any."""
        return self.root / self.weights_file

    @property
    def presets(self) -> list[str]:
        """Names of the configs that override train.json and inference.json for smaller machines."""
        return [name for name in ("cpu",) if (self.root / "configs" / f"{name}.json").is_file()]

    @property
    def experiments(self) -> list[str]:
        """Names of the paper's tables that can be run."""
        return sorted(path.stem for path in (self.root / "experiments").glob("*.json"))

    def config_files(self, *names: str) -> list[str]:
        """Paths of configs by name, in the order in which they override each other.

        Raises:
            InputError: the bundle has no such config.
        """
        paths = [self.root / "configs" / f"{name}.json" for name in names]
        for path in paths:
            if not path.is_file():
                raise InputError(
                    f"the bundle {self.name} has no config {path.stem!r}: choose one of {_listed(path.parent)}."
                )
        return [str(path) for path in paths]


def _listed(folder: Path) -> str:
    return ", ".join(sorted(path.stem for path in folder.glob("*.json") if path.stem != "metadata"))


def _registry(bundles: Sequence[Bundle]) -> dict[str, Bundle]:
    return {bundle.name: bundle for bundle in bundles}


BUNDLES = _registry(
    [
        Bundle(
            name="fundus_multi_lesion_segmentation",
            title="Four lesions of diabetic retinopathy on full fundus photos, U-Net of whole photos (light) or UNet++"
            " of 64×64 windows (the paper's)",
            classes=CLASSES,
            finetuning="train_light",
        ),
        Bundle(
            name="fundus_red_lesion_segmentation",
            title="Microaneurysms and haemorrhages on full fundus photos, Red-Seg in one pass of the shrunk photo",
            classes=("microaneurysm", "haemorrhage"),
        ),
        Bundle(
            name="fundus_dr_grading_segmentation",
            title="Grade of diabetic retinopathy and its four lesions, one network for both in one pass of the photo",
            classes=CLASSES[:-1],
            graded=True,
        ),
        Bundle(
            name="octa_dr_lesion_segmentation",
            title="Three lesions of diabetic retinopathy on ultra-wide OCTA images, a network for each",
            classes=OCTA_LESIONS,
            weights_file="models",
        ),
        Bundle(
            name="pathology_nuclei_imbalance_segmentation",
            title="Nuclei of several classes in tiles of H&E stained tissue, losses against class imbalance and a"
            " second network for the background",
            classes=(*CONIC_CLASSES, "foreground"),
            weights_file="models",
            item="tile",
            table="nuclei.csv",
        ),
    ]
)
"""All bundles by name."""


def find_bundle(name: str) -> Bundle:
    """Return a bundle by name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in BUNDLES:
        raise InputError(f"there is no bundle {name!r}: choose one of {', '.join(BUNDLES)}.")
    return BUNDLES[name]
