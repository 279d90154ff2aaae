"""Maps of lesions or nuclei in photos: the work behind `tinylesions predict`."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from monai.bundle import ConfigParser

from tinylesions.apps.devices import device_override
from tinylesions.apps.finished import finished_folders, is_finished
from tinylesions.apps.input_errors import find_input_error
from tinylesions.apps.ordered_messages import OrderedMessages
from tinylesions.apps.photo_inferers import PhotoInferer, photo_inferer
from tinylesions.apps.photo_pipeline import run_in_flight
from tinylesions.apps.photo_steps import LoadedPhoto, Photo, PhotoSteps
from tinylesions.apps.thresholds import lay_over_thresholds
from tinylesions.apps.wording import counted
from tinylesions.apps.workflows import build_workflow
from tinylesions.datasets import InputError, file_sha256, find_photos, photo_ids
from tinylesions.datasets.atomic import atomic_path
from tinylesions.datasets.training_record import TRAINING_RECORD
from tinylesions.handlers import record_run
from tinylesions.monai_bundles import Bundle
from tinylesions.transforms import collect_tables

__all__ = ["Prediction", "predict"]

_WORKERS = {"cpu": 1}
_GPU_WORKERS = 4
"""A GPU needs half a second for a photo that takes a core a second to read and two or more to write."""


@dataclass(frozen=True)
class Prediction:
    """What a prediction did.

    Attributes:
        output_dir: its folder.
        done: photos predicted now.
        skipped: photos that an earlier run with the same settings had finished.
        failed: file → what is wrong with it.
    """

    output_dir: Path
    done: list[str]
    skipped: list[str]
    failed: dict[str, str]


def predict(
    inputs: Sequence[Path],
    bundle: Bundle,
    output_dir: Path,
    weights: Path | None = None,
    configs: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    device: str | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
    workers: int | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> Prediction:
    """Predict photos with a bundle's own inference config; a bad photo does not stop the others.

    While a photo is in the network the next ones are read and the last ones' results are written.

    Args:
        inputs: photos and folders of photos.
        bundle: the bundle.
        output_dir: where a folder per photo, the bundle's tables (``lesions.csv`` and ``photos.csv``, or ``nuclei.csv``
            and ``tiles.csv``) and ``run.json`` go.
        weights: the weights' file, or the folder of several where the bundle merges networks; the bundle's own by
            default.
        configs: configs of the bundle that override inference.json, e.g. a preset.
        overrides: config ids and their values.
        device: name of the device, e.g. ``"cpu"`` or ``"cuda:1"``; the config's own by default.
        overwrite: predict photos again that an earlier run with the same settings had finished.
        say: takes each line for the user, from any thread, one at a time.
        workers: how many photos are read, and as many written, beside the one in the network; by default 1 where the
            network is on a CPU, 4 where it is on a GPU.
        thresholds: lesion → probability that is reached where it is found, in place of the weights' own.

    Raises:
        InputError: no photo, an array of tiles, no weights, weights that do not fit, no such device, an override or a
            threshold that is not for these weights, an output folder that cannot be written.
    """
    paths = find_photos(inputs, exclude=output_dir)
    _refuse_arrays(paths, bundle)
    weights = weights or bundle.weights
    places: dict[str, Any] = {"ckpt_path": weights, "output_dir": output_dir, **device_override(device)}
    workflow = build_workflow(bundle, ["inference", *configs], {**places, **(overrides or {})}, "infer")
    lay_over_thresholds(workflow.parser, thresholds or {})
    workflow.initialize()
    preprocessing, network, postprocessing, where = map(workflow.parser.get_parsed_content, _PARTS)
    network.eval()
    # a bar for each photo would fill a log file
    inferer = photo_inferer(workflow.parser, overrides or {}, show_progress=sys.stderr.isatty())
    sha256 = _sha256(workflow.parser, weights)
    settings = _settings(bundle, sha256, configs, overrides or {}, inferer, where)
    if "class_names" in workflow.parser:  # they lie beside the weights
        settings["class_names"] = list(workflow.parser.get_parsed_content("class_names"))
    settings |= _of_record(workflow.parser, weights)
    key = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:12]
    photos = [Photo(number, id_, path) for number, (id_, path) in enumerate(zip(photo_ids(paths), paths, strict=True))]
    finished = {p for p in photos if not overwrite and is_finished(output_dir / p.id, p.path, key)}
    waiting = [photo for photo in photos if photo not in finished]
    record_run(output_dir / "run.json", {**settings, "weights": str(weights), "settings_key": key})
    before = f" ({len(finished)} already done)" if finished else ""
    say(f"{counted(len(waiting), bundle.item)}{before}: {inferer.announce([photo.path for photo in waiting])}")

    messages = OrderedMessages(say)
    for photo in finished:
        messages.close(photo.number)
    done: list[str] = []
    failed: dict[str, str] = {}

    def say_of(photo: Photo, message: str) -> None:
        messages.add(photo.number, f"[{photo.number + 1}/{len(photos)}] {message}")

    def write(photo: Photo, predicted: LoadedPhoto) -> None:
        steps.write(photo, predicted)
        messages.close(photo.number)

    def settle(photo: Photo, error: Exception | None) -> None:
        if error is None:
            done.append(photo.id)
            return
        problem = find_input_error(error)
        if problem is None:
            raise error
        failed[str(photo.path)] = str(problem)
        say_of(photo, f"left out: {problem}")
        messages.close(photo.number)

    steps = PhotoSteps(preprocessing, network, inferer, postprocessing, where, output_dir, key, overwrite, say=say_of)
    run_in_flight(waiting, steps.load, steps.infer, write, settle, workers or _WORKERS.get(where.type, _GPU_WORKERS))
    _write_errors(output_dir / "errors.csv", failed)
    complete = finished_folders(output_dir, key)
    if complete:
        collect_tables(complete, output_dir, bundle.table, bundle.item)
    return Prediction(output_dir, done, [photo.id for photo in photos if photo in finished], failed)


_PARTS = ("preprocessing", "network", "postprocessing", "device")


def _settings(
    bundle: Bundle,
    weights_sha256: str | dict[str, str],
    configs: Sequence[str],
    overrides: Mapping[str, Any],
    inferer: PhotoInferer,
    device: torch.device,
) -> dict[str, Any]:
    """What the results depend on."""
    return {
        "bundle": bundle.name,
        "bundle_version": json.loads((bundle.root / "configs" / "metadata.json").read_text(encoding="utf-8"))[
            "version"
        ],
        "weights_sha256": weights_sha256,
        "configs": ["inference", *configs],
        **inferer.settings(device),
        "overrides": dict(overrides),
    }


def _sha256(parser: ConfigParser, weights: Path) -> str | dict[str, str]:
    """Hash of the weights, or of each of the config's ``checkpoints`` where it merges several networks."""
    if "checkpoints" not in parser:
        return file_sha256(weights)
    return {name: file_sha256(path) for name, path in parser.get_parsed_content("checkpoints").items()}


def _of_record(parser: ConfigParser, weights: Path) -> dict[str, Any]:
    """What the record beside the weights says, where the config goes by it: others may be written there later."""
    record = weights.parent / TRAINING_RECORD
    if "thresholds" not in parser or not record.is_file():
        return {}
    return {"training_record_sha256": file_sha256(record), "thresholds": parser.get_parsed_content("thresholds")}


def _refuse_arrays(paths: Sequence[Path], bundle: Bundle) -> None:
    """Nothing in an array says which of its tiles is meant."""
    array = next((path for path in paths if path.suffix.lower() == ".npy"), None)
    if array is not None and bundle.item == "tile":
        raise InputError(
            f"{array}: tiles are image files; those of a CoNIC array are predicted by the bundle's evaluate config with"
            " --save_predictions True."
        )


def _write_errors(path: Path, failed: Mapping[str, str]) -> None:
    if failed:
        with atomic_path(path) as temporary:
            pd.DataFrame(failed.items(), columns=["file", "problem"]).to_csv(temporary, index=False)
    else:
        path.unlink(missing_ok=True)
