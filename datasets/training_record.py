"""What trained weights are of, in a file beside them: classes, split and networks."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .atomic import atomic_path
from .errors import InputError
from .file_hash import file_sha256

__all__ = ["TRAINING_RECORD", "load_training_record", "record_training"]

TRAINING_RECORD = "training.json"
SHA256 = "sha256"
"""Of the weights that the record's thresholds were chosen for, by the file's name."""

_NETWORKS = "networks"


def record_training(
    folder: Path | str, name: str, network: Mapping[str, Any], resume: bool = True, **shared: Any
) -> None:
    """Write what the weights of a training need to be used and scored again into ``training.json`` beside them.

    Networks that are trained one by one and used together share a folder, and so classes and split: a tile that one was
    trained on is never scored with the other.

    Args:
        folder: of the weights.
        name: of the network.
        network: how it is built, in values that JSON can hold.
        resume: whether the training goes on from what it finds in the folder; if not, it replaces it.
        shared: what all networks of the folder have in common.

    Raises:
        InputError: the folder holds weights of other settings.
    """
    path = Path(folder) / TRAINING_RECORD
    new = json.loads(json.dumps({_NETWORKS: {name: network}, **shared}))
    old = _read(path) if path.is_file() else {_NETWORKS: {}}
    # a training that ended before its first checkpoint left nothing that the record could be wrong about
    trained = {other: built for other, built in old[_NETWORKS].items() if any(Path(folder).glob(f"{other}*.pt"))}
    others = {other: built for other, built in trained.items() if other != name}
    kept = old if others or (resume and trained) else {}
    differing = [key for key in shared if key in kept and kept[key] != new[key]]
    if resume and trained.get(name, new[_NETWORKS][name]) != new[_NETWORKS][name]:
        differing.append(f"{name} network")
    if differing:
        raise InputError(
            f"{folder} holds weights trained with another {' and '.join(differing)}: train with the same, or name"
            " another folder."
        )
    text = json.dumps({**new, _NETWORKS: {**others, **new[_NETWORKS]}}, indent=2)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def load_training_record(weights: Path | str, **defaults: Any) -> dict[str, Any]:
    """Read what trained weights are of.

    Args:
        weights: their folder, or one of the files in it.
        defaults: what is shared by weights that have no record, as those of a folder that is still empty.

    Returns:
        What :func:`record_training` shared, and ``networks``: name → how it is built. A warning says that weights have
        no record.

    Raises:
        InputError: the record cannot be read, or is of another file than `weights`.
    """
    weights = Path(weights)
    folder = weights if weights.is_dir() else weights.parent
    path = folder / TRAINING_RECORD
    if path.is_file():
        record = _read(path)
        expected = record.get(SHA256, {}).get(weights.name)
        if expected and weights.is_file() and file_sha256(weights) != expected:
            raise InputError(
                f"{weights} is not the file that {path.name} beside it was written for: copy the two again from where"
                " they belong together, or train anew in another folder."
            )
        return {**defaults, **record}
    if any(folder.glob("*.pt")):
        words = ", ".join(defaults)
        warnings.warn(f"{folder} has no {TRAINING_RECORD}: {words} are taken to be the usual ones", stacklevel=2)
    return {**defaults, _NETWORKS: {}}


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: copy it again from where the weights are.") from error
    networks = record.get(_NETWORKS) if isinstance(record, dict) else None
    if not isinstance(networks, dict) or not all(isinstance(network, dict) for network in networks.values()):
        raise InputError(f"{path} is no record of a training: copy it again from where the weights are.")
    return record
