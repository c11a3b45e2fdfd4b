"""Train every backbone with every decoder by one config, one after the other, and put the scores side by side.

`python tools/train_grid.py --out DIR [--config CONFIG] [--backbones ...] [--decoders ...] [--cfg-options K=V ...]`

A run that was stopped goes on where it was when the command is given again, and finished ones are not repeated. After
each, DIR/grid.json and DIR/grid.md hold what is known so far.
"""

import argparse
import json
import statistics
import time
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densevit.environment import keep_freed_memory, let_threads_sleep
from densevit.tables import format_table

if TYPE_CHECKING:
    from densevit.train.schema import ConfigFile

BACKBONES = ("mit_b0", "pvt_v2_b0", "swin_tiny", "mvit_v2_tiny")
DECODERS = ("all_mlp", "vt_fpn", "uper")
CONFIG = "configs/camvid_short.py"
RESULT = "result.json"


def main() -> int:
    """Train what is not trained yet; returns 128 + the signal's number when a signal ended it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", required=True, metavar="DIR", help="one run folder a pair, grid.json and grid.md")
    parser.add_argument("--config", default=CONFIG, help="its model.backbone and model.decoder are replaced")
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, metavar="NAME")
    parser.add_argument("--decoders", nargs="+", default=DECODERS, metavar="NAME")
    parser.add_argument("--device", default=None)
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    let_threads_sleep()  # before torch is imported
    from densevit.train import load_config, parse_overrides

    out, options = Path(args.out), parse_overrides(args.cfg_options)
    rows = []
    for backbone, decoder in product(args.backbones, args.decoders):
        config = load_config(args.config, {"model.backbone": backbone, "model.decoder": decoder, **options})
        row = finished(out / f"{backbone}_{decoder}", config)
        if row is None:
            row, stopped = run(config, out / f"{backbone}_{decoder}", device=args.device)
            if stopped is not None:
                return 128 + stopped
        rows.append(row)
        write(rows, out, config)
    print((out / "grid.md").read_text())
    return 0


def run(config: "ConfigFile", folder: Path, *, device: str | None) -> tuple[dict[str, Any], int | None]:
    """Train one pair, or what is left of it: its row of the table, and the signal that ended it early."""
    import torch

    from densevit.train import train
    from densevit.train.tasks.segment import create_model

    print(f"{folder.name}: training", flush=True)
    start = time.process_time()
    with keep_freed_memory():
        result = train(config, work_dir=folder, resume=(folder / "last_checkpoint").is_file(), device=device)
    if result.stopped is not None:
        return {}, result.stopped
    lines = [json.loads(line) for line in (folder / "scalars.jsonl").read_text().splitlines()]
    with torch.device("meta"):
        model = create_model(config.model, trained=True)
    row = dict(
        backbone=config.model.backbone,
        decoder=config.model.decoder,
        parameters=sum(p.numel() for p in model.parameters()),
        backbone_parameters=sum(p.numel() for p in model.backbone.parameters()),
        seconds_per_iter=statistics.median(line["seconds_per_iter"] for line in lines if "seconds_per_iter" in line),
        loss=[line["loss"] for line in lines if "loss" in line][-1],
        cpu_minutes=(time.process_time() - start) / 60,
        mIoU=result.scores["mIoU"],
        mAcc=result.scores["mAcc"],
        classes={name: scores["IoU"] for name, scores in result.scores["classes"].items()},
        settings=settings(config),
    )
    (folder / RESULT).write_text(json.dumps(row, indent=1) + "\n")
    return row, None


def finished(folder: Path, config: "ConfigFile") -> dict[str, Any] | None:
    """The row of a run that is complete and was made with these settings."""
    path = folder / RESULT
    row = json.loads(path.read_text()) if path.is_file() else None
    return row if row is not None and row["settings"] == settings(config) else None


def settings(config: "ConfigFile") -> dict[str, Any]:
    """All of a config that bears on the result, as JSON gives it back."""
    plain = {key: value for key, value in config.to_dict().items() if key not in ("work_dir", "visualization", "name")}
    return json.loads(json.dumps(plain))


def write(rows: list[dict[str, Any]], out: Path, config: "ConfigFile") -> None:
    """grid.json with everything, grid.md with two tables: mIoU, and cost."""
    import torch

    cfg, data = config.train_cfg, config.train_data
    machine = f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    content = dict(rows=rows, machine=machine)
    (out / "grid.json").write_text(json.dumps(content, indent=1) + "\n")
    crop = " x ".join(map(str, data.augment.crop_size))
    text = (
        f"{cfg.max_iters} iterations of {data.batch_size} crops of {crop}, seed {config.seed}, "
        f"{machine}; scores on {config.val_data.dataset.get('split')}, in percent.\n\n"
    )
    shown = [
        {
            "backbone": row["backbone"],
            "decoder": row["decoder"],
            "mIoU": row["mIoU"],
            "mAcc": row["mAcc"],
            "s / iteration": row["seconds_per_iter"],
            "M parameters": row["parameters"] / 1e6,
            "of them decoder": (row["parameters"] - row["backbone_parameters"]) / 1e6,
        }
        for row in rows
    ]
    (out / "grid.md").write_text(f"{text}{format_table(shown, style='markdown')}\n")


if __name__ == "__main__":
    raise SystemExit(main())
