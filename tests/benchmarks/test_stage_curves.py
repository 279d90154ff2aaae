"""The picture of a two-stage training's curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from benchmarks.stage_curves import losses, main


@pytest.fixture
def run(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        for step in range(1, 101):
            writer.add_scalar("train_loss", step, step)
        for step in range(1, 11):
            writer.add_scalar("stage_2_loss", 1.0, step)
    pd.DataFrame({"epoch": [1, 2], "score": [0.1, 0.4]}).to_csv(tmp_path / "metrics.csv", index=False)
    return tmp_path


def test_losses_are_running_means(run):
    found = losses(run)
    middle = np.arange(3, 99)  # the mean of five steps is the one in the middle
    np.testing.assert_allclose(found["stage 1 loss"], (middle, middle), rtol=1e-6)
    np.testing.assert_allclose(found["stage 2 loss"], (np.arange(1, 11), np.ones(10)), rtol=1e-6)


def test_a_picture_is_drawn(run, tmp_path):
    main([str(tmp_path / "curves.png"), f"one run={run}", "--metrics", "score"])
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 2 * picture.height
        assert len(picture.convert("RGB").getcolors(1 << 16)) > 10
