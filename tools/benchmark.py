"""Measure densevit and its peers on the same work in one run: `python tools/benchmark.py model --help`.

Every comparison takes turns (ours, peer, ours, peer, ...), quotes medians, and prints ratios first: a ratio above 1
says how many times faster densevit is. `--json FILE` keeps every single measurement.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]  # the repository, for `tools.peers`

COMMANDS = {
    "families": "forward of one model of each family beside its reference: latency, equality, peak memory",
    "model": "forward of whole models: latency, equality of outputs, MACs, parameters, peak memory",
    "macs": "multiply-accumulates of VT-FPN's FPN part against those of panoptic FPN's",
    "windows": "sliding-window inference: total time over the plain forwards of the same windows",
    "volume": "a whole volume to labels: seconds, peak memory and what the plan said, each system in its own process",
    "native": "logits to labels on the file's own grid: seconds, memory, equality with other ways",
    "augment": "one training crop of a volume: milliseconds by step, beside MONAI's chain, on CPU and GPU",
    "scan": "one CT from file to mask on a CPU, where the time goes: beside MONAI's chain with Invertd",
    "nnunet": "one scan from file to mask by a folder that nnU-Net trained: seconds, memory, equality, beside nnU-Net",
    "case_cache": "cases from their files and from the cache on disk: seconds a case, the same arrays",
    "metrics": "all metrics of a pair of label maps: seconds, memory, the same numbers, beside MONAI's",
    "training_memory": "the peak of a training step on volumes, beside what `densevit fingerprint` estimates",
    "train": "training side by side: seconds per iteration, loss curves, mIoU",
    "busy": "training idle and beside busy processes, with threads that sleep or spin while they wait",
    "prior": "Dice of a set's validation cases without looking at them: what a trained model has to beat",
    "trace": "files and functions of densevit that training and predicting enter",
    "train_volumes": "the same for volumes, with MONAI's Swin UNETR: seconds per iteration, curves, Dice",
}


def main() -> int:
    """Run one benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name == wanted:  # only the one that runs is imported
            import_module(f"benchmarks.{name}").add_arguments(command)
    arguments = parser.parse_args()
    return import_module(f"benchmarks.{arguments.command}").run(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
