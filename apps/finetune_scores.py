"""What a fine-tuning gained: the scores of each lesion before and after, and the thresholds chosen."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pandas as pd

from tinylesions.apps.workflows import build_workflow, run_workflow
from tinylesions.datasets.atomic import atomic_path
from tinylesions.monai_bundles import Bundle

__all__ = ["before_and_after", "chosen_thresholds", "printed_scores", "run_evaluation", "write_scores"]

SCORE = "average precision (exact)"


def run_evaluation(bundle: Bundle, configs: Sequence[str], overrides: Mapping[str, Any], folder: Path) -> None:
    """Evaluate, unless that is done; the tables that an evaluation prints are only written.

    Args:
        bundle: the bundle.
        configs: names of its configs.
        overrides: config ids and their values.
        folder: of ``scores.csv``, the last that an evaluation writes, and ``operating_points.csv``.
    """
    if (folder / "scores.csv").is_file():
        return
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        # of a lesion that no photo for validation shows; `chosen_thresholds` says what becomes of it
        warnings.filterwarnings("ignore", message="no threshold finds")
        run_workflow(build_workflow(bundle, configs, overrides, "train"), folder / "evaluate_config.json")


def before_and_after(output_dir: Path, lesions: Sequence[str], known: Sequence[str]) -> pd.DataFrame:
    """Read the scores of the two evaluations.

    Args:
        output_dir: folder of ``after`` and, where some lesions are known, ``before``.
        lesions: those of the new weights.
        known: those that the weights knew before; the others have no score of before.

    Returns:
        ``before`` and ``after``, average precision by the protocol exact, and ``threshold``, for each lesion; NaN where
        there is none.
    """
    table = pd.DataFrame(math.nan, index=pd.Index(lesions, name="lesion"), columns=["before", "after", "threshold"])
    if known:
        table.loc[list(known), "before"] = _scores(output_dir / "before").loc[list(known)]
    table["after"] = _scores(output_dir / "after")
    points = pd.read_csv(output_dir / "after" / "operating_points.csv", index_col="lesion")
    table["threshold"] = points["threshold"].where(points["dice"] > 0)
    return table


def chosen_thresholds(
    table: pd.DataFrame | None, lesions: Sequence[str], earlier: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the threshold of each lesion, and where it comes from, in words.

    Args:
        table: see `before_and_after`; None where nothing was scored.
        lesions: those of the new weights.
        earlier: lesion → threshold of the weights before, as far as they had some.

    Example:
        >>> table = pd.DataFrame({"threshold": [0.25, math.nan]}, index=["haemorrhage", "drusen"])
        >>> chosen_thresholds(table, ["haemorrhage", "drusen"], {})[0]
        {'haemorrhage': 0.25, 'drusen': 0.5}
    """
    chosen = {} if table is None else {str(name): float(value) for name, value in table["threshold"].dropna().items()}
    sources = {
        lesion: "chosen by Dice on the photos for validation"
        if lesion in chosen
        else "that of the weights before"
        if lesion in earlier
        else "as there is nothing to choose it by"
        for lesion in lesions
    }
    return {lesion: chosen.get(lesion, earlier.get(lesion, 0.5)) for lesion in lesions}, sources


def printed_scores(table: pd.DataFrame) -> pd.DataFrame:
    """The two scores with three digits, a dash where there is none."""
    cells = {
        column: ["–" if math.isnan(value) else f"{value:.3f}" for value in table[column]]
        for column in ("before", "after")
    }
    return pd.DataFrame(cells, index=table.index.rename(None))


def write_scores(table: pd.DataFrame, path: Path) -> None:
    """Write the table; its columns name the score."""
    with atomic_path(path) as temporary:
        table.rename(columns={name: f"{SCORE} {name}" for name in ("before", "after")}).to_csv(temporary)


def _scores(folder: Path) -> pd.Series[float]:
    return pd.read_csv(folder / "scores.csv", index_col="score").loc[SCORE].astype(float)
