"""Forward of SegFormer: ours and each peer's with the same weights."""

import argparse
import statistics
import sys

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.contenders import PACKAGES, Peer, installed, make_pair
from benchmarks.peaks import forward_peak, in_own_process
from benchmarks.timing import machine, ratios, take_turns, write_json
from densevit.tables import format_table

CLASSES = 19
MODES = ("eager", "compiled", "bf16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py model`."""
    parser.add_argument("--variants", nargs="+", default=["b0", "b2", "b5"], metavar="B")
    parser.add_argument("--sizes", nargs="+", type=int, default=[512, 1024], metavar="N", help="square images, pixels")
    parser.add_argument("--peers", nargs="+", default=list(PACKAGES), choices=list(PACKAGES))
    parser.add_argument("--modes", nargs="+", default=["eager"], choices=MODES)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5, help="counted turns of each; medians are quoted")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--peak", choices=("ours", "peer"), help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Print one table row for each variant, size, mode and peer."""
    if arguments.peak:
        return _print_peak(arguments)
    rows, peers = [], installed(arguments.peers)
    if not peers:
        raise SystemExit(f"none of the peers {', '.join(arguments.peers)} is installed; install one to compare with")
    for variant in arguments.variants:
        for name in peers:
            ours, peer = (m.to(arguments.device) for m in make_pair(name, variant, classes=CLASSES))
            for size in arguments.sizes:
                for mode in arguments.modes:
                    rows.append(_compare(ours, peer, name, variant, size=size, mode=mode, arguments=arguments))
                    sys.stderr.write(f"{variant} {size} {mode} {name}: {rows[-1]['ratio']:.2f}x\n")
    print(f"{machine()}, batch {arguments.batch_size}, median of {arguments.rounds} interleaved rounds\n")
    header = list(rows[0])
    print(format_table([{key: row[key] for key in header} for row in rows], style="markdown"))
    write_json(arguments.json, rows)
    return 0


def _compare(
    ours: nn.Module, peer: Peer, name: str, variant: str, *, size: int, mode: str, arguments: argparse.Namespace
) -> dict:
    x = torch.randn(arguments.batch_size, 3, size, size, device=arguments.device)
    calls = {"ours": ours, "peer": peer, "our encoder": ours.backbone, "peer's encoder": peer.encoder}
    if mode == "compiled":
        calls = {key: torch.compile(call) for key, call in calls.items()}
    half = torch.autocast(torch.device(arguments.device).type, torch.bfloat16, enabled=mode == "bf16")
    with torch.inference_mode(), half:
        expected = calls["peer"](x).float()
        error = (calls["ours"](x).float() - expected).abs().max().item()
        work = {key: lambda call=call: call(x) for key, call in calls.items()}
        seconds = take_turns(work, rounds=arguments.rounds, device=arguments.device)
    ms = {key: 1000 * statistics.median(values) for key, values in seconds.items()}
    encoder_ratio = ratios({k: v for k, v in seconds.items() if "encoder" in k}, "our encoder")["peer's encoder"]
    return {
        "model": variant,
        "size": size,
        "mode": mode,
        "peer": name,
        "ratio": ratios(seconds, "ours")["peer"],
        "encoder ratio": encoder_ratio,
        "ours ms": ms["ours"],
        "peer ms": ms["peer"],
        "our encoder ms": ms["our encoder"],
        "peer encoder ms": ms["peer's encoder"],
        "max error": error,
        "max logit": expected.abs().max().item(),
        "ours GMACs": _gmacs(ours, size),
        "peer GMACs": _gmacs(peer, size),
        "ours params": _parameters(ours),
        "peer params": _parameters(peer.model),
        "ours peak MB": _peak(arguments, name, variant, size=size, mode=mode, who="ours"),
        "peer peak MB": _peak(arguments, name, variant, size=size, mode=mode, who="peer"),
    }


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _gmacs(model: nn.Module, size: int) -> float:
    """Multiply-accumulates of one image in 10^9, attention's products included; norms and activations are not."""
    x = torch.randn(1, 3, size, size, device=next(model.parameters()).device)
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
        model(x)
    return counter.get_total_flops() / 2e9


def _peak(arguments: argparse.Namespace, name: str, variant: str, *, size: int, mode: str, who: str) -> float | None:
    """Memory that one forward adds to a fresh process, in MB (10^6 bytes); on CUDA, the allocator's peak."""
    if mode == "compiled":  # compiling itself takes memory
        return None
    command = ["model", "--peak", who, "--variants", variant, "--sizes", str(size), "--peers", name, "--modes", mode]
    return in_own_process(*command, "--device", arguments.device, "--batch-size", str(arguments.batch_size))


def _print_peak(arguments: argparse.Namespace) -> int:
    ours, peer = make_pair(arguments.peers[0], arguments.variants[0], classes=CLASSES)
    model = (ours if arguments.peak == "ours" else peer).to(arguments.device)
    del ours, peer
    device = torch.device(arguments.device)
    with torch.autocast(device.type, torch.bfloat16, enabled=arguments.modes == ["bf16"]):
        print(forward_peak(model, _image(arguments, arguments.sizes[0]), warm_up=_image(arguments, 64)))
    return 0


def _image(arguments: argparse.Namespace, size: int) -> Tensor:
    return torch.randn(arguments.batch_size, 3, size, size, device=arguments.device)
