"""A training of a second or so with MONAI's engines, for the tests of their handlers."""

from __future__ import annotations

from pathlib import Path

import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ValidationHandler, from_engine
from monai.inferers import SimpleInferer
from monai.transforms import Activationsd, Compose, RandFlipd, RandRotate90d
from monai.utils import set_determinism
from torch import nn

from tinylesions.handlers import BestModel, EpochSeed, PixelAveragePrecision, TrainingCheckpoint

WINDOWS, BATCH = 12, 4
SEED = 3


class KilledError(Exception):
    """Stands for whatever ends a process."""


def windows(count: int, seed: int) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, 8, 8, generator=generator)
    images[..., 4:] *= 0.5  # a flip changes what the network sees
    return [{"image": image, "label": (image.mean(0, keepdim=True) > 0.5).float()} for image in images]


def build_network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    convolution = nn.Conv2d(3, 4, 3, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(4, 1, 3, padding=1))


def build_evaluator(network: nn.Module, handlers: list | None = None) -> SupervisedEvaluator:
    metric = PixelAveragePrecision(["lesion"], output_transform=from_engine(["pred", "label"]))
    return SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(windows(4, seed=99)), batch_size=2),
        network=network,
        inferer=SimpleInferer(),
        postprocessing=Activationsd("pred", sigmoid=True),
        key_val_metric={"average_precision": metric},
        val_handlers=handlers,
    )


class Training:
    """Network, optimiser, schedule, validation after each epoch, the best model and the checkpoint."""

    def __init__(
        self,
        folder: Path,
        max_epochs: int,
        resume: bool = True,
        kill_after: int | None = None,
        count: int = WINDOWS,
        network: nn.Module | None = None,
        num_workers: int = 0,
        handlers: list | None = None,
    ) -> None:
        set_determinism(SEED)
        self.network = build_network() if network is None else network
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.02)
        schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, step_size=1, gamma=0.8)
        transforms = Compose([RandFlipd(["image", "label"], prob=0.5), RandRotate90d(["image", "label"], prob=0.7)])
        self.best = BestModel(folder / "model.pt", self.network)
        self.checkpoint = TrainingCheckpoint(
            folder / "checkpoint.pt",
            {"network": self.network, "optimizer": self.optimizer, "schedule": schedule, "best_model": self.best},
            resume=resume,
        )
        self.losses: list[float] = []
        dataset = Dataset(windows(count, seed=1), transforms)
        self.trainer = SupervisedTrainer(
            device=torch.device("cpu"),
            max_epochs=max_epochs,
            train_data_loader=DataLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=num_workers),
            network=self.network,
            optimizer=self.optimizer,
            loss_function=nn.BCEWithLogitsLoss(),
            train_handlers=[
                EpochSeed(SEED, transforms),
                ValidationHandler(1, build_evaluator(self.network, [self.best])),
                *(handlers or []),
            ],
        )
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: schedule.step())
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, self._note_loss)
        self.checkpoint.attach(self.trainer)
        if kill_after is not None:
            # in the middle of the next epoch, with weights that no checkpoint holds
            killed_at = Events.ITERATION_COMPLETED(once=kill_after * (count // BATCH) + 2)
            self.trainer.add_event_handler(killed_at, self._kill)

    def _note_loss(self, engine: SupervisedTrainer) -> None:
        self.losses.append(engine.state.output[0]["loss"])

    def _kill(self, engine: SupervisedTrainer) -> None:
        raise KilledError

    def run(self) -> Training:
        self.trainer.run()
        return self
