"""Lesion maps of photos: the work behind `tinylesions predict`."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from monai.utils import ensure_tuple_rep

from tinylesions.apps.finished import finished_folders, is_finished
from tinylesions.apps.ordered_messages import OrderedMessages
from tinylesions.apps.photo_pipeline import run_in_flight
from tinylesions.apps.photo_steps import LoadedPhoto, Photo, PhotoSteps
from tinylesions.apps.wording import counted
from tinylesions.apps.workflows import build_workflow
from tinylesions.datasets import InputError, find_photos, photo_ids, photo_size
from tinylesions.handlers import file_sha256, record_run
from tinylesions.inferers import ForegroundSlidingWindowInferer, WindowPlan, resolve_precision
from tinylesions.monai_bundles import Bundle
from tinylesions.transforms import atomic_path, collect_tables

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
) -> Prediction:
    """Predict photos with a bundle's own inference config; a bad photo does not stop the others.

    While a photo is in the network the next ones are read and the last ones' results are written.

    Args:
        inputs: photos and folders of photos.
        bundle: the bundle.
        output_dir: where a folder per photo, ``lesions.csv``, ``photos.csv`` and ``run.json`` go.
        weights: the weights' file; the bundle's own by default.
        configs: configs of the bundle that override inference.json, e.g. a preset.
        overrides: config ids and their values.
        device: name of the device, e.g. ``"cpu"`` or ``"cuda:1"``; the config's own by default.
        overwrite: predict photos again that an earlier run with the same settings had finished.
        say: takes each line for the user, from any thread, one at a time.
        workers: how many photos are read, and as many written, beside the one in the network; by default 1 where the
            network is on a CPU, 4 where it is on a GPU.

    Raises:
        InputError: no photo, no weights, weights that do not fit, no such device, an output folder that cannot be
            written.
    """
    paths = find_photos(inputs, exclude=output_dir)
    weights = weights or bundle.weights
    places: dict[str, Any] = {"ckpt_path": weights, "output_dir": output_dir}
    if device is not None:
        places["device"] = f"$torch.device({_usable(device)!r})"
    workflow = build_workflow(bundle, ["inference", *configs], {**places, **(overrides or {})}, "infer")
    workflow.initialize()
    preprocessing, network, inferer, postprocessing, where = map(workflow.parser.get_parsed_content, _PARTS)
    network.eval()
    inferer.progress = sys.stderr.isatty()  # a bar for each photo would fill a log file
    settings = _settings(bundle, weights, configs, overrides or {}, inferer, where)
    key = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:12]
    photos = [Photo(number, id_, path) for number, (id_, path) in enumerate(zip(photo_ids(paths), paths, strict=True))]
    finished = {p for p in photos if not overwrite and is_finished(output_dir / p.id, p.path, key)}
    waiting = [photo for photo in photos if photo not in finished]
    record_run(output_dir / "run.json", {**settings, "weights": str(weights), "settings_key": key})
    _announce([photo.path for photo in waiting], len(finished), inferer, say)

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
        problem = _input_error(error)
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
        collect_tables(complete, output_dir)
    return Prediction(output_dir, done, [photo.id for photo in photos if photo in finished], failed)


_PARTS = ("preprocessing", "network", "inferer", "postprocessing", "device")


def _settings(
    bundle: Bundle,
    weights: Path,
    configs: Sequence[str],
    overrides: Mapping[str, Any],
    inferer: ForegroundSlidingWindowInferer,
    device: torch.device,
) -> dict[str, Any]:
    """What the results depend on."""
    return {
        "bundle": bundle.name,
        "bundle_version": json.loads((bundle.root / "configs" / "metadata.json").read_text(encoding="utf-8"))[
            "version"
        ],
        "weights_sha256": file_sha256(weights),
        "configs": ["inference", *configs],
        "roi_size": list(ensure_tuple_rep(inferer.roi_size, 2)),
        "overlap": inferer.overlap,
        "precision": str(resolve_precision(inferer.precision, device)).removeprefix("torch."),
        "fast": inferer.fast,
        "overrides": dict(overrides),
    }


def _announce(
    waiting: Sequence[Path], already: int, inferer: ForegroundSlidingWindowInferer, say: Callable[[str], None]
) -> None:
    """Say how much work there is, from the files' headers: at most, since crop and foreground make it less."""

    @cache
    def whole_plan(size: tuple[int, int]) -> WindowPlan:
        everywhere = torch.ones(1, 1, *size, dtype=torch.bool)
        return inferer.plan(everywhere, everywhere)

    plans = []
    for path in waiting:
        with suppress(InputError):  # it is reported when its turn comes
            plans.append(whole_plan(photo_size(path)))
    windows = counted(sum(plan.windows for plan in plans), "window")
    sides = max((plan.grid.roi_size for plan in plans), default=ensure_tuple_rep(inferer.roi_size, 2))
    manner = "fast" if inferer.fast else f"overlap {inferer.overlap:g}"
    before = f" ({already} already done)" if already else ""
    work = f"at most {windows} of {'×'.join(map(str, sides))} px, {manner}"
    say(f"{counted(len(waiting), 'photo')}{before}: {work}")


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
