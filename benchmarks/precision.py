"""What reduced precision and the fast mode do to the scores of a trained network.

    python -m benchmarks.precision --data demo/data --weights demo/run/model.pt --preset cpu

Evaluates the bundle several times on the data set's test photos. Without weights of your own, `make demo` trains some,
on drawings: they show what rounding does, nothing about eyes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tinylesions.apps.workflows import build_workflow, run_workflow
from tinylesions.datasets import InputError
from tinylesions.monai_bundles import BUNDLES

__all__ = ["compare"]

MONAI = {
    "validate#inferer": {
        "_target_": "SlidingWindowInferer",
        "roi_size": "@roi_size",
        "sw_batch_size": 16,
        "overlap": "@val_overlap",
        "mode": "gaussian",
    },
    "validate#evaluator#prepare_batch": "$monai.engines.utils.default_prepare_batch",
}
CONTENDERS: dict[str, dict[str, Any]] = {
    "MONAI SlidingWindowInferer, float32": MONAI,
    "TinyLesions, float32": {"precision": "float32"},
    "TinyLesions, bf16": {"precision": "bf16"},
    "TinyLesions, float32, fast mode": {"precision": "float32", "fast": True},
}


def scores(
    options: dict[str, Any], data: Path, weights: Path, presets: Sequence[str], widths: Sequence[int] | None
) -> pd.Series:
    """Average precision (exact) of each lesion and the mean on the test photos."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = {"dataset_dir": data, "ckpt_path": weights, "output_dir": Path(folder), **options}
        if widths:
            overrides["widths"] = list(widths)
        bundle = BUNDLES["fundus_multi_lesion_segmentation"]
        run_workflow(build_workflow(bundle, ["train", *presets, "evaluate"], overrides, "train"))
        table = pd.read_csv(Path(folder) / "scores.csv", index_col="score")
    row = table.loc["average precision (exact)"]
    return row[[name for name in row.index if not name.endswith(("_low", "_high"))]]


def compare(
    quick: bool,
    data: Path = Path("demo/data"),
    weights: Path = Path("demo/run/model.pt"),
    presets: Sequence[str] = ("cpu",),
    widths: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """Scores of each contender and the largest change of a lesion's score from MONAI's in float32.

    Raises:
        InputError: there are no weights.
    """
    if not weights.is_file():
        raise InputError(f"{weights} is missing: run `make demo` first, or name other weights.")
    rows: list[dict[str, Any]] = []
    reference = None
    for name, options in CONTENDERS.items():
        found = scores(options, data, weights, presets, widths)
        reference = found if reference is None else reference
        rows.append({"contender": name, **found.to_dict(), "largest change": float((found - reference).abs().max())})
    return rows


def main() -> None:
    """Print the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("demo/data"), help="data set in IDRiD's layout")
    parser.add_argument("--weights", type=Path, default=Path("demo/run/model.pt"))
    parser.add_argument("--preset", nargs="*", default=[], help="configs laid over train.json")
    parser.add_argument("--widths", type=json.loads, help="JSON list of the network's widths, where no preset has them")
    options = parser.parse_args()
    rows = compare(False, options.data, options.weights, options.preset, options.widths)
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
