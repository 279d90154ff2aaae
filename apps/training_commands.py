"""The commands that train: on one's own photos, or the rows of a paper's table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tinylesions.apps.consoles import console
from tinylesions.apps.options import (
    DEFAULT_BUNDLE,
    FOLDER,
    BundleOption,
    LayoutName,
    PresetOption,
    checked_presets,
)
from tinylesions.monai_bundles import find_bundle

__all__ = ["experiment", "finetune"]


def finetune(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder that holds images and masks; see above.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the new weights, their record and scores; created if needed.")],
    layout: Annotated[
        LayoutName, typer.Option(help="How FOLDER lies on disk, where it is an official data set's or a datalist.")
    ] = FOLDER,
    bundle: BundleOption = DEFAULT_BUNDLE,
    weights: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="model.pt to start from, with its training.json beside it; the bundle's own by default."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="How often as many crops are seen as the config says.")] = 5,
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--set",
            metavar="ID=VALUE",
            help="Override an id of the bundle's config, e.g. `--set learning_rate=0.0003` (half of the config's by"
            " default) or `--set crops_per_epoch=100`; can be given several times.",
        ),
    ] = None,
    device: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="cpu, cuda, cuda:1, mps; by default cuda if there is one, else cpu."),
    ] = None,
) -> None:
    """Train the weights further on your own photos, for lesions of any names, and score them before and after.

    FOLDER holds photos and a mask for each lesion in them, white on black, at the photo's size:

    - `images/eye1.jpg`, `images/eye2.jpg`, …
    - `masks/haemorrhage/eye1.png`, `masks/haemorrhage/eye2.png`, …
    - `masks/drusen/eye2.png`: any names; a photo without a lesion needs no mask of it
    - `photos.csv`, if you want to choose: `photo,split` with training, validation or test for each photo; else a fifth
      of the photos validates

    The photos are checked, the weights scored on those for validation, trained on those for training, scored again,
    and a threshold is chosen for each lesion. OUT gets

    - `model.pt` and `training.json`: the weights and how to use them, for `tinylesions predict`,
    - `finetuning.csv`: the average precision of each lesion before and after, and its threshold,
    - `before` and `after`: all scores; `train_config.json`: all settings.

    The same command goes on where it was interrupted. For example `tinylesions finetune my_photos --out finetuned`,
    then `tinylesions predict PHOTOS --weights finetuned/model.pt --out results`. For research, no medical device.
    """
    from tinylesions.apps.experiment_overrides import parse_overrides
    from tinylesions.apps.finetune import run_finetuning

    run_finetuning(
        find_bundle(bundle),
        folder,
        out,
        layout=layout.value,
        weights=weights,
        epochs=epochs,
        overrides=parse_overrides(set_ or []),
        device=device,
        console=console,
    )


def experiment(
    table: Annotated[str, typer.Argument(help="A table of the paper, e.g. table_4.")],
    dataset_dir: Annotated[Path, typer.Option(help="The data set's folder, or the file of a JSON datalist.")],
    out: Annotated[Path, typer.Option(help="Folder of weights, scores and the table.")],
    bundle: BundleOption = DEFAULT_BUNDLE,
    preset: PresetOption = None,
    row: Annotated[Optional[list[str]], typer.Option(help="Only this row; can be given several times.")] = None,  # noqa: UP045
    layout: Annotated[
        Optional[LayoutName],  # noqa: UP045
        typer.Option(help="The data set's layout, where it is not the table's own."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, metavar="N", help="Train every row so many times, and write mean ± deviation.")
    ] = 1,
    pretrained: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="ImageNet weights to start from: `imagenet` downloads torchvision's, a path names its file. With the"
            " bundle for OCTA images: the path of Segment Anything's checkpoint, which only SAMadapter starts from."
        ),
    ] = None,
    evaluation_dir: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The data set whose test photos are scored, for a table that trains on another."),
    ] = None,
    evaluation_layout: Annotated[
        Optional[LayoutName],  # noqa: UP045
        typer.Option(help="Its layout, where it is not the table's own."),
    ] = None,
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--set",
            metavar="ID=VALUE",
            help="Override an id of the bundle's configs in every training and evaluation, e.g. `--set max_epochs=5`;"
            " can be given several times. Not for an id that makes the rows what they are.",
        ),
    ] = None,
) -> None:
    """Train and evaluate the rows of a paper's table, and write them beside the published figures (CSV, Markdown).

    What is done is kept: a row is not trained twice, an interrupted training goes on, and more `--seeds` only add to
    what is there. A row without published figures makes pictures; one that cannot be trained without `--pretrained`
    is left out where that is not given. For example
    `tinylesions experiment table_4 --dataset-dir IDRiD --out table_4 --row "output 4"`.
    """
    chosen = find_bundle(bundle)
    presets = checked_presets(chosen, preset)
    from tinylesions.apps.experiment import run_experiment
    from tinylesions.apps.experiment_overrides import parse_overrides

    run_experiment(
        chosen,
        table,
        dataset_dir,
        out,
        presets=presets,
        rows=row,
        layout=layout.value if layout else None,
        console=console,
        seeds=seeds,
        pretrained=pretrained,
        evaluation_dir=evaluation_dir,
        evaluation_layout=evaluation_layout.value if evaluation_layout else None,
        overrides=parse_overrides(set_ or []),
    )
