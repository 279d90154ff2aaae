"""Lesion maps of photos: the work behind `tinylesions predict`."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from monai.utils import ensure_tuple_rep

from tinylesions.apps.finished import finished_folders, is_finished, mark_finished, refuse_other_photo
from tinylesions.apps.wording import counted
from tinylesions.apps.workflows import build_workflow
from tinylesions.datasets import InputError, find_photos, photo_ids, photo_size
from tinylesions.handlers import file_sha256, record_run
from tinylesions.monai_bundles import Bundle
from tinylesions.transforms import atomic_path, collect_tables, window_origins

__all__ = ["Prediction", "predict"]


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
) -> Prediction:
    """Predict photos one by one with a bundle's own inference config; a bad photo does not stop the others.

    Args:
        inputs: photos and folders of photos.
        bundle: the bundle.
        output_dir: where a folder per photo, ``lesions.csv``, ``photos.csv`` and ``run.json`` go.
        weights: the weights' file; the bundle's own by default.
        configs: configs of the bundle that override inference.json, e.g. a preset.
        overrides: config ids and their values.
        device: name of the device, e.g. ``"cpu"`` or ``"cuda:1"``; the config's own by default.
        overwrite: predict photos again that an earlier run with the same settings had finished.
        say: takes each line for the user.

    Raises:
        InputError: no photo, no weights, weights that do not fit, no such device, an output folder that cannot be
            written.
    """
    photos = find_photos(inputs, exclude=output_dir)
    ids = photo_ids(photos)
    weights = weights or bundle.weights
    places: dict[str, Any] = {"ckpt_path": weights, "output_dir": output_dir}
    if device is not None:
        places["device"] = f"$torch.device({_usable(device)!r})"
    workflow = build_workflow(bundle, ["inference", *configs], {**places, **(overrides or {})}, "infer")
    workflow.initialize()
    parts = _Parts(*(workflow.parser.get_parsed_content(name) for name in _PARTS))
    parts.inferer.progress = sys.stderr.isatty()  # a bar for each photo would fill a log file
    settings = {
        "bundle": bundle.name,
        "bundle_version": _version(bundle),
        "weights_sha256": file_sha256(weights),
        "configs": ["inference", *configs],
        "roi_size": list(parts.inferer.roi_size),
        "overlap": parts.inferer.overlap,
        "overrides": dict(overrides or {}),
    }
    key = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:12]
    pairs = list(zip(ids, photos, strict=True))
    finished = {id_ for id_, path in pairs if not overwrite and is_finished(output_dir / id_, path, key)}
    record_run(output_dir / "run.json", {**settings, "weights": str(weights), "settings_key": key})

    done, skipped, failed = [], [], {}
    _announce([path for id_, path in pairs if id_ not in finished], len(photos), parts.inferer, say)
    for number, (id_, path) in enumerate(pairs, start=1):
        if id_ in finished:
            skipped.append(id_)
            continue
        try:
            if not overwrite:
                refuse_other_photo(output_dir / id_, path)
            _predict_photo(id_, path, parts, say, f"[{number}/{len(photos)}]")
            mark_finished(output_dir / id_, path, key)
            done.append(id_)
        except Exception as error:
            problem = _input_error(error)
            if problem is None:
                raise
            failed[str(path)] = str(problem)
            say(f"[{number}/{len(photos)}] left out: {problem}")
    _write_errors(output_dir / "errors.csv", failed)
    complete = finished_folders(output_dir, key)
    if complete:
        collect_tables(complete, output_dir)
    return Prediction(output_dir, done, skipped, failed)


_PARTS = ("preprocessing", "network", "inferer", "postprocessing", "device", "amp")


@dataclass(frozen=True)
class _Parts:
    """The pieces of the bundle's inference config, by their config ids."""

    preprocessing: Callable
    network: torch.nn.Module
    inferer: Any
    postprocessing: Callable
    device: torch.device
    amp: bool


@torch.inference_mode()
def _predict_photo(id_: str, path: Path, parts: _Parts, say: Callable[[str], None], place: str) -> None:
    start = time.perf_counter()
    data = parts.preprocessing({"id": id_, "image": str(path), "photo": str(path)})
    image = data["image"]
    windows = count_windows(image.shape[1:], parts.inferer)
    say(f"{place} {path.name}: field of view {image.shape[2]}×{image.shape[1]} px, {counted(windows, 'window')}")
    parts.network.eval()
    with torch.autocast(parts.device.type, enabled=parts.amp):  # as the bundle's evaluator does
        data["pred"] = parts.inferer(image[None].to(parts.device), parts.network)[0]
    data["windows"] = windows
    data["seconds"] = round(time.perf_counter() - start, 3)
    parts.postprocessing(data)


def count_windows(size: Sequence[int], inferer: Any) -> int:
    """How many windows a sliding-window inferer runs on a photo of this (H, W)."""
    roi_size = ensure_tuple_rep(inferer.roi_size, 2)
    padded = [max(side, roi) for side, roi in zip(size, roi_size, strict=True)]
    return len(window_origins(padded, roi_size, inferer.overlap))


def _announce(waiting: Sequence[Path], total: int, inferer: Any, say: Callable[[str], None]) -> None:
    """Say how much work there is, from the files' headers: at most, since the crop makes it less."""
    windows = 0
    for path in waiting:
        with suppress(InputError):  # it is reported when its turn comes
            windows += count_windows(photo_size(path), inferer)
    roi = "×".join(str(side) for side in inferer.roi_size)
    already = f" ({total - len(waiting)} already done)" if len(waiting) < total else ""
    work = f"at most {counted(windows, 'window')} of {roi} px, overlap {inferer.overlap:g}"
    say(f"{counted(len(waiting), 'photo')}{already}: {work}")


def _version(bundle: Bundle) -> str:
    return json.loads((bundle.root / "configs" / "metadata.json").read_text(encoding="utf-8"))["version"]


def _usable(device: str) -> str:
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch raises all three
        mps = ["mps"] if torch.backends.mps.is_available() else []
        usable = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count())), *mps]
        raise InputError(f"the device {device!r} cannot be used here: choose one of {', '.join(usable)}.") from error
    return device


def _input_error(error: BaseException | None) -> InputError | None:
    """The bad input behind an error, through MONAI's wrapping of what a transform raises."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error


def _write_errors(path: Path, failed: Mapping[str, str]) -> None:
    if failed:
        with atomic_path(path) as temporary:
            pd.DataFrame(failed.items(), columns=["file", "problem"]).to_csv(temporary, index=False)
    else:
        path.unlink(missing_ok=True)
