"""What happens to one photo: it is loaded, it runs through the network, its results are written."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tinylesions.apps.finished import mark_finished, refuse_other_photo
from tinylesions.apps.photo_inferers import PhotoInferer

__all__ = ["LoadedPhoto", "Photo", "PhotoSteps"]

LONG_SECONDS = 15.0
"""Of a photo that takes longer the time is told in advance."""


@dataclass(frozen=True)
class Photo:
    """A photo of a prediction.

    Attributes:
        number: its place among the prediction's photos, from 0.
        id: name of its folder.
        path: its file.
    """

    number: int
    id: str
    path: Path


@dataclass
class LoadedPhoto:
    """A photo on its way, with its own copy of the transforms that still await it.

    Attributes:
        data: what the bundle's preprocessing gave, then the prediction too.
        postprocessing: inverts what was done to this photo, and writes.
    """

    data: dict[Any, Any]
    postprocessing: Callable[[dict[Any, Any]], Any]


@dataclass(frozen=True)
class PhotoSteps:
    """The steps of a photo, with the parts of a bundle's inference config. They may run in different threads.

    Attributes:
        preprocessing: from the path to the photo, and its ``foreground`` where there are windows.
        network: in eval mode.
        inferer: runs the network on a photo.
        postprocessing: from the network's output to files.
        device: where the network is.
        output_dir: folder of the photos' folders.
        settings_key: of the settings that the results depend on.
        overwrite: whether the result of another photo of the same name may be replaced.
        say: takes what there is to tell of a photo.
    """

    preprocessing: Callable[[dict[str, str]], dict[Any, Any]]
    network: torch.nn.Module
    inferer: PhotoInferer
    postprocessing: Callable[[dict[Any, Any]], Any]
    device: torch.device
    output_dir: Path
    settings_key: str
    overwrite: bool
    say: Callable[[Photo, str], None]

    def load(self, photo: Photo) -> LoadedPhoto:
        """Read a photo and prepare it for the network.

        Raises:
            InputError: the photo is bad, or its folder holds the result of another one.
        """
        start = time.perf_counter()
        if not self.overwrite:
            refuse_other_photo(self.output_dir / photo.id, photo.path)
        # MONAI's Invertd switches a flag of the transforms it inverts, which other threads must not see
        preprocessing, postprocessing = copy.deepcopy((self.preprocessing, self.postprocessing))
        data = preprocessing({"id": photo.id, "image": str(photo.path), "photo": str(photo.path)})
        data.update(self.inferer.plan(data))
        data["seconds"] = time.perf_counter() - start
        return LoadedPhoto(data, postprocessing)

    def infer(self, photo: Photo, loaded: LoadedPhoto) -> LoadedPhoto:
        """Run the network, saying how much work that is."""
        data = loaded.data
        self.say(photo, f"{photo.path.name}: {self.inferer.describe(data)}")
        start = time.perf_counter()
        output = self.inferer.infer(data, self.network, self.device, partial(self._say_if_long, photo))
        # to the CPU at once: a GPU's memory is the network's, however many results wait to be written
        if isinstance(output, dict):
            data["pred"] = {key: tensor.cpu() for key, tensor in output.items()}
        else:
            data["pred"] = output.cpu()
        data["seconds"] = round(data["seconds"] + time.perf_counter() - start, 3)
        return loaded

    def write(self, photo: Photo, predicted: LoadedPhoto) -> None:
        """Write the photo's folder, whole or not at all, and say the photo's grade where it has got one.

        Raises:
            InputError: the folder cannot be written.
        """
        facts = predicted.postprocessing(predicted.data).get("facts", {})
        mark_finished(self.output_dir / photo.id, photo.path, self.settings_key)
        if "grade_name" in facts:
            self.say(photo, f"{photo.path.name}: grade {facts['grade']}, {facts['grade_name']}")

    def _say_if_long(self, photo: Photo, seconds: float) -> None:
        if seconds > LONG_SECONDS:
            time_ = f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
            self.say(photo, f"{photo.path.name}: about {time_} for its windows")
