"""Run the benchmarks, print their tables and save them: `python -m benchmarks --quick`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import monai
import torch
from rich.console import Console
from rich.table import Table

import tinylesions
from benchmarks import (
    average_precision,
    online_bootstrapping,
    photo_inference,
    photo_sizes,
    precision,
    training_step,
    training_windows,
    whole_photo,
)
from tinylesions.datasets import InputError

BENCHMARKS: dict[str, Callable[[bool], list[dict[str, Any]]]] = {
    "photo_inference": photo_inference.compare,
    "whole_photo": whole_photo.compare,
    "average_precision": average_precision.compare,
    "training_windows": training_windows.compare,
    "training_step": training_step.compare,
    "online_bootstrapping": online_bootstrapping.compare,
    "photo_sizes": photo_sizes.compare,
    "precision": precision.compare,
}


WIDTH = 160
"""Columns of the tables in a file or a pipe."""


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "monai": monai.__version__,
        "tinylesions": tinylesions.__version__,
    }


def _processor() -> str:
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    extensions = [name for name in ("avx512_bf16", "amx_bf16") if capabilities.get(name)]
    return " ".join([str(capabilities.get("cpu_name", platform.processor())), *extensions])


def _printed(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for name, value in rows[0].items():
        table.add_column(name, justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmarks that are asked for, one after another."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="sizes for two cores: some ten minutes in all")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), help="which to run")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks.json"), help="where to save the figures")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    results: dict[str, Any] = {"machine": machine(), "quick": options.quick}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        console.print(f"running {name} …")
        try:
            results[name] = BENCHMARKS[name](options.quick)
        except InputError as error:
            console.print(f"left out: {error}", markup=False)
            continue
        console.print(_printed(name, results[name]))
        options.out.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    console.print(results["machine"])
    console.print(f"saved as {options.out}", markup=False)


if __name__ == "__main__":
    main()
