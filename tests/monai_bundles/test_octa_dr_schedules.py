"""The learning rate of the OCTA bundle's trainings, epoch by epoch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from torch import nn

from .configs import merge
from .octa import BUNDLE, training

pytestmark = pytest.mark.filterwarnings("ignore:.*training images, ")


def cosine(epoch: int, epochs: int, first: float, last: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def quarter(epoch: int, epochs: int, first: float, last: float) -> float:
    return first if 4 * epoch < epochs else max(first / 10, last)


def constant(epoch: int, epochs: int, first: float, last: float) -> float:
    return first


TABLE_2 = {
    "unet": (torch.optim.Adam, 1e-4, 1e-9, cosine),
    "unet_plus_plus": (torch.optim.Adam, 1e-4, 1e-9, quarter),
    "unet_plus_plus_attention": (torch.optim.Adam, 1e-4, 1e-9, quarter),
    "sam_adapter": (torch.optim.AdamW, 2e-4, 1e-7, quarter),
    "deeplabv3_plus": (torch.optim.Adam, 5e-4, 5e-9, constant),
}
"""Optimizer, first and last learning rate, and schedule of the paper's table 2."""


class TestSchedules:
    def rates(
        self, data: Path, folder: Path, architecture: str, epochs: int, **overrides: Any
    ) -> tuple[Any, list[float]]:
        """The optimizer of a training, and its learning rate in every epoch."""
        places = {"lesion": "NV", "architecture": architecture, "network_def": nn.Conv2d(1, 1, 1)}
        short = {"spatial_size": [32, 32], "max_epochs": epochs, "val_interval": epochs}
        workflow = training(data, folder, {**short, **places, **overrides})
        workflow.initialize()
        optimizer = workflow.parser.get_parsed_content("optimizer")
        rates: list[float] = []
        trainer = workflow.parser.get_parsed_content("train#trainer")
        trainer.add_event_handler(Events.EPOCH_STARTED, lambda: rates.append(optimizer.param_groups[0]["lr"]))
        workflow.run()
        return optimizer, rates

    @pytest.mark.parametrize("architecture", TABLE_2)
    def test_learning_rate_of_each_epoch(self, drac_phantoms, tmp_path, architecture):
        kind, first, last, schedule = TABLE_2[architecture]
        optimizer, rates = self.rates(drac_phantoms, tmp_path, architecture, 8)
        assert type(optimizer) is kind
        assert rates == pytest.approx([schedule(epoch, 8, first, last) for epoch in range(8)], rel=1e-6)
        # what the schedule has after the last epoch
        assert optimizer.param_groups[0]["lr"] == pytest.approx(schedule(8, 8, first, last), rel=1e-6)

    def test_the_least_learning_rate(self, drac_phantoms, tmp_path):
        _, rates = self.rates(drac_phantoms, tmp_path, "unet_plus_plus", 4, minimum_learning_rate=4e-5)
        assert rates == pytest.approx([1e-4, 4e-5, 4e-5, 4e-5])

    def test_one_long_training(self):
        """300 epochs, as shipped: the learning rate falls at the 75th, and the cosine ends at the least one."""
        for architecture, epochs in (("unet_plus_plus_attention", (74, 75, 299)), ("unet", (1, 150, 299))):
            _, first, last, schedule = TABLE_2[architecture]
            parser = merge(BUNDLE.config_files("train"))
            parser.update({"architecture": architecture, "network": nn.Linear(1, 1)})
            optimizer, scheduler = (parser.get_parsed_content(id) for id in ("optimizer", "lr_scheduler"))
            rates = []
            for _ in range(300):
                rates.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                scheduler.step()
            for epoch in epochs:
                assert rates[epoch] == pytest.approx(schedule(epoch, 300, first, last), rel=1e-5)
