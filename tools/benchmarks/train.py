"""Training side by side: ours and transformers' SegFormer from the same weights, on the same batches, by one recipe."""

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

from benchmarks.contenders import make_pair
from benchmarks.timing import machine, synchronize, write_json
from densevit.decoders import DenseMap
from densevit.inference import predict_logits
from densevit.losses import create_loss
from densevit.metrics import ConfusionMatrix
from densevit.report import compare_curves
from densevit.tables import format_table
from densevit.train import load_config, parse_overrides
from densevit.train.config import replace_options
from densevit.train.data import open_samples, open_stream, train_loader
from densevit.train.optim import create_optimizer, learning_rate
from densevit.train.schema import ConfigFile

PEER_PARTS = {"decoder": "decode_head", "head": "decode_head.classifier"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py train`."""
    parser.add_argument("config", help="a SegFormer config; its dropout and stochastic depth are switched off")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float, default=None, help="choose max_iters so that both take this long")
    parser.add_argument("--out", required=True, metavar="DIR", help="where loss.png and result.json go")


def run(arguments: argparse.Namespace) -> int:
    """Train both, taking turns on every batch; print seconds per iteration and the test scores."""
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    config = load_config(arguments.config, parse_overrides(arguments.cfg_options))
    torch.manual_seed(config.seed)
    classes, variant = config.model.num_classes, config.model.backbone.removeprefix("mit_")
    ours, peer = make_pair("transformers", variant, classes=classes, fresh=True, seed=config.seed)
    lanes = {
        "densevit": Lane(ours, ours, config, arguments.device),
        "transformers": Lane(peer, peer.model, _for_peer(config), arguments.device),
    }
    loader = train_loader(open_stream(config), config, first_draw=0, device=torch.device(arguments.device))
    batches = iter(loader)
    max_iters = config.train_cfg.max_iters
    if arguments.minutes:
        max_iters = _affordable(lanes, batches, arguments.minutes)
    for iteration in track(range(max_iters), description="training both"):
        batch = next(batches)
        order = list(lanes) if iteration % 2 == 0 else list(lanes)[::-1]
        for name in order:
            lanes[name].step(batch, iteration, max_iters)
    return _report(lanes, config, max_iters, arguments, out)


class Lane:
    """One system in training: model, optimizer, and what each step gave and took."""

    def __init__(self, model: nn.Module, parts: nn.Module, config: ConfigFile, device: str):
        self.model = model.to(device).train()
        self.optimizer = create_optimizer(parts, config.optimizer)
        self.schedule = config.schedule
        self.loss = create_loss(config.loss)
        self.device = device
        self.losses: list[float] = []
        self.seconds: list[float] = []

    def step(self, batch: Mapping[str, Tensor], iteration: int, max_iters: int) -> None:
        """One update of the weights."""
        image, label = batch["image"].to(self.device), batch["label"].to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(group["base_lr"], iteration, max_iters=max_iters, schedule=self.schedule)
        synchronize(self.device)
        start = time.perf_counter()
        loss = sum(self.loss(DenseMap(self.model(image)), label).values())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        synchronize(self.device)
        self.seconds.append(time.perf_counter() - start)
        self.losses.append(loss.item())

    def score(self, config: ConfigFile) -> float:
        """mIoU in percent on the test set."""
        self.model.eval()
        confusion = ConfusionMatrix(config.model.num_classes)
        for sample in track(open_samples(config, "test_data"), description="testing"):
            logits = predict_logits(self.model, sample.image.to(self.device))
            confusion.update(logits.argmax(0).cpu(), sample.label)
        return 100 * confusion.compute().mIoU


def _for_peer(config: ConfigFile) -> ConfigFile:
    """The same recipe, with the peer's names for the parts that have a learning rate of their own."""
    multipliers = {PEER_PARTS[part]: factor for part, factor in config.optimizer.lr_multipliers.items()}
    return replace_options(config, {"optimizer.lr_multipliers": multipliers})


def _affordable(lanes: Mapping[str, Lane], batches: Any, minutes: float) -> int:
    """Iterations that fit into the time, from ten trial steps with a learning rate near 0, which are forgotten."""
    start = time.perf_counter()
    state = {name: {k: v.clone() for k, v in lane.model.state_dict().items()} for name, lane in lanes.items()}
    for batch in itertools.islice(batches, 10):
        for lane in lanes.values():
            lane.step(batch, 0, 10**6)
    for name, lane in lanes.items():
        lane.model.load_state_dict(state[name])
        lane.optimizer.state.clear()
        lane.losses, lane.seconds = [], []
    return int(60 * minutes / (time.perf_counter() - start) * 10)


def _report(
    lanes: Mapping[str, Lane], config: ConfigFile, max_iters: int, arguments: argparse.Namespace, out: Path
) -> int:
    ours, peer = lanes["densevit"], lanes["transformers"]
    ratio = statistics.median(b / a for a, b in zip(ours.seconds, peer.seconds, strict=True))
    rows = [
        {
            "system": name,
            "iterations": max_iters,
            "s / iteration": statistics.median(lane.seconds),
            "mean loss, last 100": statistics.mean(lane.losses[-100:]),
            "test mIoU": lane.score(config),
        }
        for name, lane in lanes.items()
    ]
    print(f"{machine()}, batch {config.train_data.batch_size}")
    print(f"densevit is {ratio:.2f} times faster per iteration (median over {max_iters} interleaved iterations)\n")
    print(format_table(rows, style="markdown"))
    curves = {name: list(enumerate(lane.losses, start=1)) for name, lane in lanes.items()}
    compare_curves(curves, out / "loss.png", ylabel="training loss")
    losses = {name: lane.losses for name, lane in lanes.items()}
    seconds = {name: lane.seconds for name, lane in lanes.items()}
    write_json(str(out / "result.json"), dict(ratio=ratio, rows=rows, losses=losses, seconds=seconds))
    return 0
