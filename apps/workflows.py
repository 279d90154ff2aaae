"""Build a bundle's workflow with MONAI's own API."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow

from tinylesions.datasets.atomic import atomic_path
from tinylesions.monai_bundles import Bundle

__all__ = ["build_workflow", "run_workflow"]


def build_workflow(
    bundle: Bundle, configs: Sequence[str], overrides: Mapping[str, Any], workflow_type: str, run_id: str = "run"
) -> ConfigWorkflow:
    """Read a bundle's configs, the later overriding the earlier, as ``python -m monai.bundle run`` does.

    Args:
        bundle: the bundle.
        configs: names of its configs, e.g. ``["train", "cpu"]``.
        overrides: config ids and their values, e.g. ``{"network_def#head": 2}``; a path is given as ``Path``, so that
            a name which starts with ``$``, ``@`` or ``%`` is no expression.
        workflow_type: ``"train"`` or ``"infer"``.
        run_id: what ``run()`` runs.
    """
    # ignite reports every run and epoch; the command line has its own progress
    logging.getLogger("ignite").setLevel(logging.WARNING)
    logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)  # it warns that logging_file is False
    literal = {name: str(value.absolute()) if isinstance(value, Path) else value for name, value in overrides.items()}
    return ConfigWorkflow(
        config_file=bundle.config_files(*configs),
        meta_file=str(bundle.root / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type=workflow_type,
        run_id=run_id,
        bundle_root=str(bundle.root),
        **literal,
    )


def run_workflow(workflow: ConfigWorkflow, config_copy: Path | None = None) -> None:
    """Initialise, run and finalise a workflow, keeping its resolved config beside the results if a path is given."""
    if config_copy is not None:
        with atomic_path(config_copy) as temporary:
            ConfigParser.export_config_file(workflow.parser.get(), str(temporary), indent=2)
    workflow.initialize()
    workflow.run()
    workflow.finalize()
