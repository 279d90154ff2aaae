"""Run a bundle's workflow once for each value of one of its ids."""

from __future__ import annotations

import inspect
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow

__all__ = ["run_for_each"]


def run_for_each(id: str, values: Sequence[Any], run_id: str, **shared: Any) -> None:
    """Run the running workflow's config again, once for each value of an id, with everything else the user asked for.

    For a config's expression, e.g. ``"training_all": ["$handlers.run_for_each('lesion', @codes, 'training')"]``. MONAI
    gives an expression no access to its own config, so the workflow is looked for among the callers. Each run builds
    its own networks, optimisers and data, and leaves nothing of them in memory.

    Args:
        id: of the config.
        values: what it is in turn; a text is one value.
        run_id: what runs.
        shared: values of other ids, the same in every run; for what an expression would give anew each time, such as
            a folder named by the time.

    Raises:
        RuntimeError: no workflow of MONAI's is running.
    """
    running = _running_workflow()
    config = running.parser.get()
    logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)  # it warns that logging_file is False
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "config.json")
        for value in [values] if isinstance(values, str) else values:
            ConfigParser.export_config_file({**config, **shared, id: value}, str(file))
            workflow = ConfigWorkflow(
                config_file=str(file),
                meta_file=running.meta_file,
                logging_file=False,
                workflow_type=running.workflow_type,
                init_id=running.init_id,
                run_id=run_id,
                final_id=running.final_id,
            )
            workflow.initialize()
            workflow.run()
            workflow.finalize()


def _running_workflow() -> ConfigWorkflow:
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, ConfigWorkflow):
            return caller
        frame = frame.f_back
    raise RuntimeError("run_for_each is for the expressions of a config that MONAI runs as a workflow")
