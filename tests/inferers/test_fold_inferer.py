"""Each photo goes through its fold's network, as if the folds were evaluated one by one."""

from __future__ import annotations

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import PrepareBatchExtraInput, SupervisedEvaluator
from monai.handlers import from_engine
from monai.inferers import SimpleInferer
from monai.transforms import Activationsd
from torch import nn

from tinylesions.handlers import PixelAveragePrecision
from tinylesions.inferers import ForegroundSlidingWindowInferer
from tinylesions.inferers.fold_inferer import FoldInferer
from tinylesions.metrics import PixelAveragePrecisionMetric

FOLDS = (2, 0, 1, 0, 2)


def networks() -> list[nn.Module]:
    """In training mode, as built; they differ in weights and in statistics, and drop half when in training."""
    torch.manual_seed(0)
    built = [nn.Sequential(nn.Conv2d(3, 1, 1), nn.BatchNorm2d(1), nn.Dropout(0.5)) for _ in range(3)]
    for fold, network in enumerate(built):
        network[1].running_mean.fill_(fold)
    return built


def items() -> list[dict]:
    generator = torch.Generator().manual_seed(1)
    result = []
    for fold in FOLDS:
        image = torch.rand(3, 32, 48, generator=generator)
        foreground = torch.zeros(1, 32, 48)
        foreground[..., :32, :32] = 1
        label = (image[fold : fold + 1] > 0.8).float()
        result.append({"image": image, "label": label, "foreground": foreground, "fold": fold})
    return result


@pytest.mark.parametrize("fold", range(3))
@pytest.mark.parametrize("form", [int, lambda fold: torch.tensor([fold]), lambda fold: [fold]])
def test_the_network_of_the_fold_in_evaluation_mode(fold, form):
    built, photo = networks(), items()[0]["image"][None]
    inferer = FoldInferer(SimpleInferer(), built)
    found = inferer(photo, built[0], fold=form(fold))
    assert all(network.training for network in built)
    assert [float(network[1].running_mean) for network in built] == [0, 1, 2]
    with torch.no_grad():
        assert torch.equal(found, built[fold].eval()(photo))
    assert not found.requires_grad


def test_one_evaluation_gives_all_photos_out_of_fold():
    """Against a loop over the folds, each photo's windows run by the network loaded for its fold."""
    data = items()

    def windows() -> ForegroundSlidingWindowInferer:
        return ForegroundSlidingWindowInferer(16, overlap=0.5, background=-30.0, precision="float32")

    output = from_engine(["pred", "label"])
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data), batch_size=1),
        prepare_batch=PrepareBatchExtraInput({"foreground": "foreground", "fold": "fold"}),
        network=networks()[0],
        inferer=FoldInferer(windows(), networks()),
        postprocessing=Activationsd("pred", sigmoid=True),
        key_val_metric={"score": PixelAveragePrecision(["lesion"], output_transform=output)},
    )
    evaluator.run()

    metrics = {"right": PixelAveragePrecisionMetric(), "first": PixelAveragePrecisionMetric()}
    for fold, network in enumerate(networks()):
        for item in (item for item in data if item["fold"] == fold):
            for name, of in (("right", network), ("first", networks()[0])):
                logits = windows()(item["image"][None], of.eval(), foreground=item["foreground"][None])
                metrics[name](torch.sigmoid(logits), item["label"][None])
    score = evaluator.state.metrics["score"]
    assert score == pytest.approx(float(metrics["right"].aggregate()), abs=1e-9)
    assert score != pytest.approx(float(metrics["first"].aggregate()), abs=1e-3)


@pytest.mark.parametrize(
    ("photos", "fold", "what"),
    [
        (2, torch.tensor([0, 1]), "one at a time"),
        (2, 0, "one at a time"),
        (1, [0, 1], "one at a time"),
        (1, 3, "folds 0 to 2, not of fold 3"),
        (1, -1, "folds 0 to 2, not of fold -1"),
        (1, 0.5, "not of fold 0.5"),
    ],
)
def test_wrong_batches_and_folds(photos, fold, what):
    with pytest.raises(ValueError, match=what):
        FoldInferer(SimpleInferer(), networks())(torch.zeros(photos, 3, 4, 4), fold=fold)


def test_no_network():
    with pytest.raises(ValueError, match="at least one"):
        FoldInferer(SimpleInferer(), [])
