"""A plain MONAI script with densevit's network, loss, inferer and metric in it.

`python examples/monai_training.py` makes its own small scans and takes less than a minute on a CPU.
"""

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from monai.data import CacheDataset, DataLoader
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, NormalizeIntensityd, RandCropByPosNegLabeld
from monai.utils import set_determinism
from synthetic_scans import CLASSES, write_scans
from torch import nn

import densevit
from densevit.inference import SlidingWindowInferer
from densevit.integrations.monai.losses import SegmentationLoss
from densevit.integrations.monai.metrics import CaseDiceMetric

logger = logging.getLogger("example")
ROI = (32, 32, 32)


def make_network() -> nn.Module:
    """A small SegFormer's encoder with UNETR's decoder: (B, 1, D, H, W) -> logits (B, classes, D, H, W)."""
    return densevit.create_segmentor(
        "mit_b0",
        "unetr",
        num_classes=len(CLASSES),
        spatial_dims=3,
        in_channels=1,
        backbone_options=dict(dims=(8, 16, 40, 64), depths=(1, 1, 1, 1)),
    )


def make_loader(cases: Sequence[dict], *, training: bool) -> DataLoader:
    """Crops around the structures in training, whole scans otherwise."""
    keys = ("image", "label")
    steps = [LoadImaged(keys), EnsureChannelFirstd(keys), NormalizeIntensityd("image")]
    if training:
        steps.append(RandCropByPosNegLabeld(keys, label_key="label", spatial_size=ROI, num_samples=2))
    dataset = CacheDataset(cases, Compose(steps), num_workers=None, progress=False)
    return DataLoader(dataset, batch_size=2 if training else 1, shuffle=training)


def train(network: nn.Module, cases: Sequence[dict], *, epochs: int) -> None:
    """Cross entropy and Dice, AdamW."""
    loader, loss_function = make_loader(cases, training=True), SegmentationLoss()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    network.train()
    for epoch in range(epochs):
        total = 0.0
        for batch in loader:
            optimizer.zero_grad()
            loss = loss_function(network(batch["image"]), batch["label"])
            loss.backward()
            optimizer.step()
            total += loss.item() / len(loader)
        logger.info("epoch %d: loss %.3f", epoch + 1, total)


def validate(network: nn.Module, cases: Sequence[dict]) -> dict[str, float]:
    """Dice of each structure, by windows that become labels as they are summed."""
    inferer = SlidingWindowInferer(ROI, sw_batch_size=2, overlap=0.5, mode="gaussian", reduce="labels")
    metric = CaseDiceMetric(len(CLASSES), reduction="classes")
    network.eval()
    with torch.no_grad():
        for batch in make_loader(cases, training=False):
            metric(inferer(batch["image"], network), batch["label"])
    return dict(zip(CLASSES[1:], metric.aggregate().tolist(), strict=True))


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, then validate on scans that were not trained on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    set_determinism(0)
    network = make_network()
    with tempfile.TemporaryDirectory() as folder:
        cases = write_scans(Path(folder), count=6)
        train(network, cases[:4], epochs=args.epochs)
        dice = validate(network, cases[4:])
    logger.info("Dice: %s", ", ".join(f"{name} {value:.3f}" for name, value in dice.items()))
    return dice


if __name__ == "__main__":
    main()
