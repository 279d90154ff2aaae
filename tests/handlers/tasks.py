"""Evaluations of photos with a grade, masks or both, by a network whose predictions lie in the photos."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.inferers import SimpleInferer
from monai.transforms import Activationsd, AsDiscreted, Compose, FlattenSubKeysd
from torch import nn

from tinylesions.handlers import PrepareTasks

SIZE = 8
PRED_AND_LABEL = ["pred_segmentation", "label_segmentation"]


def items(weights: list[tuple[float, float]], seed: int = 0) -> list[dict[str, Any]]:
    """Photos with these weights of their grade and of their masks."""
    generator = torch.Generator().manual_seed(seed)
    result = []
    for grade_weight, label_weight in weights:
        image = torch.randn(5, SIZE, SIZE, generator=generator)
        grade = int(torch.randint(0, 5, (), generator=generator))
        image[grade] += 0.15
        result.append(
            {
                "image": image,
                "label": torch.randint(0, 5, (1, SIZE, SIZE), generator=generator, dtype=torch.uint8),
                "label_weight": label_weight,
                "grade": grade if grade_weight else -1,
                "grade_weight": grade_weight,
            }
        )
    return result


class BothTasks(nn.Module):
    """The photo's channels are the logits of the segmentation, and their means those of the grade."""

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"grade": 9 * image.mean((2, 3)), "segmentation": 3 * image}


POSTPROCESSING = Compose(
    [
        FlattenSubKeysd("pred", prefix="pred"),
        FlattenSubKeysd("label", prefix="label"),
        Activationsd(["pred_grade", "pred_segmentation"], softmax=True),
        AsDiscreted("label_segmentation", to_onehot=5),
    ]
)


def evaluate(data: list[dict[str, Any]], metrics: dict[str, Any], handlers: list | None = None, batch_size: int = 1):
    """Values that the metrics, the first being the key metric, put into the engine."""
    names = list(metrics)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data), batch_size=batch_size),
        network=BothTasks(),
        inferer=SimpleInferer(),
        prepare_batch=PrepareTasks(),
        postprocessing=POSTPROCESSING,
        key_val_metric={names[0]: metrics[names[0]]},
        additional_metrics={name: metrics[name] for name in names[1:]},
        val_handlers=handlers,
    )
    evaluator.run()
    matrix = getattr(evaluator.state, "confusion_matrix", None)
    return evaluator.state.metrics | ({} if matrix is None else {"confusion_matrix": matrix})
