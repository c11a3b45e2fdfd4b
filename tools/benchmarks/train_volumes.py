"""Training side by side: ours and MONAI's Swin UNETR from the same weights, on the same crops, by one recipe."""

import argparse
import itertools
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor, nn

import densevit
from benchmarks.timing import machine, synchronize, write_json
from densevit.decoders import DenseMap
from densevit.evaluate import evaluate
from densevit.losses import create_loss
from densevit.predictor.labels import autocast
from densevit.report import compare_curves
from densevit.tables import format_table
from densevit.train import load_config, parse_overrides
from densevit.train.config import replace_options
from densevit.train.data import open_samples, open_stream, train_loader
from densevit.train.optim import create_optimizer, learning_rate
from densevit.train.schema import ConfigFile
from tools.peers import import_peer
from tools.peers.common import copy_weights

DIVISOR = 32  # of the sizes that MONAI's Swin UNETR takes


class Theirs(nn.Module):
    """MONAI's network with what our inference asks of one."""

    def __init__(self, model: nn.Module, num_classes: int):
        super().__init__()
        self.model = model
        self.num_classes = num_classes
        self.divisor = DIVISOR

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image)


class Lane:
    """One system in training: model, optimizer, and what each step gave and took."""

    def __init__(self, model: nn.Module, parts: nn.Module, config: ConfigFile, device: str):
        self.model = model.to(device).train()
        self.config = config
        self.optimizer = create_optimizer(parts, config.optimizer)
        self.parameters = [p for p in parts.parameters() if p.requires_grad]
        self.loss = create_loss(config.loss)
        self.device = torch.device(device)
        self.losses: list[float] = []
        self.seconds: list[float] = []

    def step(self, image: Tensor, label: Tensor, iteration: int) -> None:
        """One update of the weights."""
        settings = self.config.train_cfg
        for group in self.optimizer.param_groups:
            rate = learning_rate(
                group["base_lr"], iteration, max_iters=settings.max_iters, schedule=self.config.schedule
            )
            group["lr"] = rate
        synchronize(self.device.type)
        start = time.perf_counter()
        with autocast(self.device, settings.amp):
            logits = self.model(image)
        loss = sum(self.loss(DenseMap(logits.float()), label).values())
        self.optimizer.zero_grad()
        loss.backward()
        if settings.clip_grad is not None:
            nn.utils.clip_grad_norm_(self.parameters, settings.clip_grad)
        self.optimizer.step()
        synchronize(self.device.type)
        self.seconds.append(time.perf_counter() - start)
        self.losses.append(loss.item())

    def score(self, samples: Any) -> dict[str, float]:
        """Dice in percent of each class, mean over the validation cases, and of the classes."""
        scores = evaluate(self.model, samples, inference=vars(self.config.inference), device=self.device).scores
        classes = tuple(samples.dataset.classes)
        named = scores.as_dict(classes)
        return {name: named["classes"][name]["CaseDice"] for name in classes[1:]} | {"mean": named["mCaseDice"]}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py train_volumes`."""
    parser.add_argument("config", help="a Swin UNETR config of volumes; crops must be multiples of 32")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", required=True, metavar="DIR", help="where loss.png, dice.png and result.json go")


def run(arguments: argparse.Namespace) -> int:
    """Train both, taking turns on every batch; print seconds per iteration and Dice by structure."""
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    config = load_config(arguments.config, parse_overrides(arguments.cfg_options))
    config = replace_options(config, {"inference.divisor": DIVISOR})  # ours takes any size, but both see the same
    lanes = _make_lanes(config, arguments.device)
    samples, settings = open_samples(config, "val_data"), config.train_cfg
    device = torch.device(arguments.device)
    batches = iter(train_loader(open_stream(config), config, first_draw=0, device=device))
    scores: dict[str, list[tuple[int, dict[str, float]]]] = {name: [] for name in lanes}
    for iteration, batch in enumerate(
        track(itertools.islice(batches, settings.max_iters), total=settings.max_iters, description="train both")
    ):
        image, label = batch["image"].to(device), batch["label"].to(device)
        for name in list(lanes) if iteration % 2 == 0 else list(lanes)[::-1]:
            lanes[name].step(image, label, iteration)
        if (iteration + 1) % settings.val_interval == 0 or iteration + 1 == settings.max_iters:
            for name, lane in lanes.items():
                scores[name].append((iteration + 1, lane.score(samples)))
    return _report(lanes, scores, config, out)


def _make_lanes(config: ConfigFile, device: str) -> dict[str, Lane]:
    crop = config.train_data.augment.crop_size
    if any(n % DIVISOR for n in crop):
        raise ValueError(f"MONAI's Swin UNETR takes multiples of {DIVISOR}, got crops of {tuple(crop)}")
    torch.manual_seed(config.seed)
    ours = densevit.create_segmentor(**vars(config.model))
    options, classes = config.model.backbone_options, config.model.num_classes
    import_peer("einops")
    theirs = import_peer("monai.networks.nets").SwinUNETR(
        in_channels=config.model.in_channels,
        out_channels=classes,
        feature_size=ours.backbone.out_channels[0],
        window_size=options.get("window_size", 7),
    )
    copy_weights(theirs, ours, source="monai")
    multipliers = {dict(head="out").get(part, part): x for part, x in config.optimizer.lr_multipliers.items()}
    for_them = replace_options(config, {"optimizer.lr_multipliers": multipliers})
    return {
        "densevit": Lane(ours, ours, config, device),
        "MONAI": Lane(Theirs(theirs, classes), theirs, for_them, device),
    }


def _report(lanes: Mapping[str, Lane], scores: Mapping[str, list], config: ConfigFile, out: Path) -> int:
    ours, peer = lanes["densevit"], lanes["MONAI"]
    ratio = statistics.median(b / a for a, b in zip(ours.seconds, peer.seconds, strict=True))
    rows = [
        {
            "system": name,
            "iterations": len(lane.losses),
            "s / iteration": statistics.median(lane.seconds),
            "mean loss, last 100": statistics.mean(lane.losses[-100:]),
            **{f"Dice {key}": value for key, value in scores[name][-1][1].items()},
        }
        for name, lane in lanes.items()
    ]
    batch, crop = config.train_data.batch_size, config.train_data.augment.crop_size
    print(f"{machine()}, batch {batch} of {' x '.join(map(str, crop))}")
    print(f"densevit is {ratio:.2f} times faster per iteration (median over interleaved iterations)\n")
    print(format_table(rows, style="markdown"))
    losses = {name: list(enumerate(lane.losses, start=1)) for name, lane in lanes.items()}
    compare_curves(losses, out / "loss.png", ylabel="training loss")
    dice = {name: [(iteration, row["mean"]) for iteration, row in points] for name, points in scores.items()}
    compare_curves(dice, out / "dice.png", ylabel="mean Dice of the validation cases")
    seconds = {name: lane.seconds for name, lane in lanes.items()}
    losses = {name: lane.losses for name, lane in lanes.items()}
    write_json(str(out / "result.json"), dict(ratio=ratio, rows=rows, scores=scores, losses=losses, seconds=seconds))
    return 0
