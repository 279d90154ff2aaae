"""The rows of the hardest pixels' classes, counted again from the loss's own gradient."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from tinylesions.handlers import HardPixels
from tinylesions.handlers import hard_pixels as hard_pixels_module
from tinylesions.losses import CompoundLoss, CrossEntropyLoss, MeanDeepSupervisionLoss, OnlineBootstrappingLoss

CLASSES = ["background", "neutrophil", "connective"]
STEPS, IMAGES, HARD = 3, 2, 5


def example(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    logits = torch.randn(IMAGES, 3, 6, 6, generator=generator)
    return logits, torch.randint(0, 3, (IMAGES, 1, 6, 6), generator=generator)


def expected_pixels(epoch: int) -> list[int]:
    """Those of an epoch, by a sort of the probabilities of the true class."""
    counts = [0, 0, 0]
    for step in range(STEPS * (epoch - 1), STEPS * epoch):
        logits, labels = example(step)
        for image in range(IMAGES):
            truth = labels[image].flatten()
            probability = logits[image].softmax(0).flatten(1).gather(0, truth[None])[0]
            for pixel in probability.argsort()[:HARD].tolist():
                counts[int(truth[pixel])] += 1
    return counts


def trainer(loss: nn.Module, *handlers: HardPixels, stop: int | None = None) -> Engine:
    engine = Engine(lambda engine, batch: loss(*example(engine.state.iteration - 1)))
    for handler in handlers:
        handler.attach(engine)
    if stop is not None:
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=stop), lambda engine: engine.terminate())
    return engine


def check(path, epochs: list[int]) -> None:
    table = pd.read_csv(path)
    pixels, shares = ([f"{name}_{end}" for name in CLASSES] for end in ("pixels", "share"))
    assert table.columns.tolist() == ["epoch", *pixels, *shares]
    assert table["epoch"].tolist() == epochs
    assert table[pixels].to_numpy().tolist() == [expected_pixels(epoch) for epoch in epochs]
    assert (table[pixels].sum(axis=1) == STEPS * IMAGES * HARD).all()
    torch.testing.assert_close(
        torch.from_numpy(table[shares].to_numpy()),
        torch.tensor([expected_pixels(epoch) for epoch in epochs]).double() / (STEPS * IMAGES * HARD),
    )


@pytest.mark.parametrize(
    "wrap",
    [
        lambda loss: loss,
        lambda loss: CompoundLoss({"cross_entropy": CrossEntropyLoss(), "online_bootstrapping": loss}),
        lambda loss: MeanDeepSupervisionLoss(CompoundLoss({"online_bootstrapping": loss})),
    ],
    ids=["alone", "in a sum", "in a sum, deeply supervised"],
)
def test_a_row_for_each_epoch(tmp_path, wrap):
    loss = wrap(OnlineBootstrappingLoss(HARD))
    path = tmp_path / "metrics" / "hard_pixels.csv"
    loss(*example(99))  # what was counted before the training counts for no epoch
    trainer(loss, HardPixels(loss, CLASSES, path)).run(range(STEPS), max_epochs=3)
    check(path, [1, 2, 3])


def test_a_resumed_training_goes_on_and_replaces(tmp_path):
    """Stopped in epoch 4 and gone on with from the end of epoch 2."""
    path = tmp_path / "hard_pixels.csv"
    loss = OnlineBootstrappingLoss(HARD)
    first = trainer(loss, HardPixels(loss, CLASSES, path), stop=3 * STEPS + 2)
    first.run(range(STEPS), max_epochs=5)
    table = pd.read_csv(path)
    table.loc[table["epoch"] == 3, "neutrophil_pixels"] = -1  # an epoch that is done again
    table.to_csv(path, index=False)

    resumed_loss = OnlineBootstrappingLoss(HARD)
    resumed = trainer(resumed_loss, HardPixels(resumed_loss, CLASSES, path))
    resumed.load_state_dict({"epoch_length": STEPS, "max_epochs": 4, "epoch": 2})
    resumed.run(range(STEPS))
    check(path, [1, 2, 3, 4])


def test_a_new_training_starts_the_file_anew(tmp_path):
    path = tmp_path / "hard_pixels.csv"
    for epochs in (3, 2):
        loss = OnlineBootstrappingLoss(HARD)
        trainer(loss, HardPixels(loss, CLASSES, path)).run(range(STEPS), max_epochs=epochs)
    check(path, [1, 2])


def test_a_loss_that_chooses_nothing_leaves_no_file(tmp_path):
    loss = CompoundLoss({"cross_entropy": CrossEntropyLoss()})
    trainer(loss, HardPixels(loss, CLASSES, tmp_path / "hard_pixels.csv")).run(range(STEPS), max_epochs=1)
    assert not list(tmp_path.iterdir())


def test_one_channel_has_two_classes(tmp_path):
    path = tmp_path / "hard_pixels.csv"
    loss = OnlineBootstrappingLoss(HARD)
    engine = Engine(lambda engine, batch: loss(torch.zeros(2, 1, 6, 6), torch.ones(2, 1, 6, 6, dtype=torch.uint8)))
    HardPixels(loss, ["background", "nucleus"], path).attach(engine)
    engine.run(range(STEPS), max_epochs=1)
    assert pd.read_csv(path).to_dict("records") == [
        {
            "epoch": 1,
            "background_pixels": 0,
            "nucleus_pixels": STEPS * 2 * HARD,
            "background_share": 0,
            "nucleus_share": 1,
        }
    ]


def test_other_class_names_than_counted(tmp_path):
    loss = OnlineBootstrappingLoss(HARD)
    engine = trainer(loss, HardPixels(loss, ["background", "nucleus"], tmp_path / "hard_pixels.csv"))
    with pytest.raises(ValueError, match="of 3 classes, but class_names are background, nucleus"):
        engine.run(range(STEPS), max_epochs=1)


@pytest.mark.parametrize("rank", [0, 1])
def test_processes_add_up_and_the_first_writes(tmp_path, monkeypatch, rank):
    """Two processes that chose the same."""
    path = tmp_path / "hard_pixels.csv"
    monkeypatch.setattr(hard_pixels_module.idist, "all_reduce", lambda tensor: 2 * tensor)
    monkeypatch.setattr(hard_pixels_module.idist, "get_rank", lambda: rank)
    loss = OnlineBootstrappingLoss(HARD)
    trainer(loss, HardPixels(loss, CLASSES, path)).run(range(STEPS), max_epochs=1)
    assert path.is_file() == (rank == 0)
    if rank == 0:
        row = pd.read_csv(path).iloc[0]
        assert [row[f"{name}_pixels"] for name in CLASSES] == [2 * count for count in expected_pixels(1)]
        assert sum(row[f"{name}_share"] for name in CLASSES) == pytest.approx(1)
