"""What a fine-tuning can start from, and what is refused before anything is trained or written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinylesions.apps.experiment_overrides import lay_over
from tinylesions.datasets import LAYOUTS, InputError, file_sha256, load_training_record
from tinylesions.datasets.atomic import atomic_path
from tinylesions.datasets.training_record import TRAINING_RECORD
from tinylesions.monai_bundles import BUNDLES, Bundle

__all__ = ["check_overrides", "claim", "finetuning_config", "photos_digest", "read_record", "refuse_nuclei"]

_OPTIONS = {
    "dataset_dir": "FOLDER",
    "layout": "--layout",
    "ckpt_dir": "--out",
    "output_dir": "--out",
    "ckpt_path": "--out",
    "initial_weights": "--weights",
    "max_epochs": "--epochs",
    "device": "--device",
}
"""Ids that the command sets itself → what is for that."""


def finetuning_config(bundle: Bundle) -> str:
    """Return the name of the config that trains a bundle's weights further.

    Raises:
        InputError: it has none.
    """
    if bundle.finetuning is None:
        able = ", ".join(other.name for other in BUNDLES.values() if other.finetuning is not None)
        raise InputError(f"the weights of {bundle.name} cannot be trained further: choose --bundle {able}.")
    return bundle.finetuning


def read_record(weights: Path, bundle: Bundle, output_dir: Path) -> dict[str, Any]:
    """Read what the weights to start from are of: lesions, network and scale.

    Args:
        weights: their file, beside its record.
        bundle: what the new weights are for.
        output_dir: where the new weights go.

    Raises:
        InputError: there are no weights or no record, they cannot be started from, or the new ones would replace them.
    """
    if not weights.is_file():
        raise InputError(f"there are no weights to start from at {weights}: name a model.pt with --weights.")
    if weights.absolute().parent == output_dir.absolute():
        raise InputError(f"{output_dir} holds the weights to start from: name another folder with --out.")
    if not (weights.parent / TRAINING_RECORD).is_file():
        raise InputError(
            f"there is no {TRAINING_RECORD} beside {weights}, which says how its network is built: copy both from where"
            " the weights are."
        )
    record = load_training_record(weights)
    if "lesions" not in record or "model" not in record["networks"] or record.get("activation") != "sigmoid":
        raise InputError(
            f"{weights} looks for all lesions at once, or for something else: start from weights of {bundle.name} that"
            " look for each lesion by itself, as its own do."
        )
    return record


def refuse_nuclei(layout: str, bundle: Bundle) -> None:
    """Refuse a layout that holds no lesions.

    Raises:
        InputError: it is one of nuclei.
    """
    if LAYOUTS[layout].classes:
        fitting = ", ".join(name for name, other in LAYOUTS.items() if not other.classes)
        raise InputError(
            f"the layout {layout!r} holds nuclei, and {bundle.name} is of lesions: choose one of {fitting}."
        )


def claim(output_dir: Path, settings: Mapping[str, Any]) -> None:
    """Keep the settings in the output folder, so that what is there is never taken for a fine-tuning with others.

    Raises:
        InputError: it holds another fine-tuning, or other weights.
    """
    path = output_dir / "finetuning.json"
    if path.is_file():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name in settings if earlier.get(name) != settings[name]]
        if differing:
            raise InputError(
                f"{output_dir} holds a fine-tuning with another {' and '.join(differing)}: name another folder with"
                " --out."
            )
        return
    if (output_dir / "model.pt").is_file():
        raise InputError(f"{output_dir} holds weights of another training: name another folder with --out.")
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def photos_digest(photos: Sequence[Mapping[str, Any]]) -> str:
    """Return a hash of the photos' and masks' bytes, their names and splits; wherever they lie."""
    facts = [
        [photo["id"], photo["split"], file_sha256(photo["image"])]
        + [[lesion, file_sha256(path)] for lesion, path in sorted(photo.get("label", {}).items())]
        for photo in photos
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def check_overrides(bundle: Bundle, config: str, overrides: Mapping[str, Any]) -> None:
    """Refuse a user's overrides that nothing would read.

    Raises:
        InputError: an option of the command is for that id, or no config has it.
    """
    read: set[str] = set()
    for configs in ([config], [config, "evaluate"]):
        read |= lay_over(bundle, configs, {}, overrides).keys()
    for id in overrides:
        if id in _OPTIONS:
            raise InputError(f"--set {id}: {_OPTIONS[id]} is for that.")
        if id not in read:
            raise InputError(
                f"--set {id}: the configs of {bundle.name} have no such id, see {bundle.root / 'configs'}."
            )
