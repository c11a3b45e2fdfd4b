"""Folders as training runs leave them, written by hand: what a test needs of a run, and no training."""

import json

from densevit.checkpoint import Header, write_checkpoint

CLASSES = ("ground", "box")
BEGUN = "10:00:00 INFO    mit_b0 + all_mlp, 3.72 M parameters; 8 training images, 3 for validation, on cuda:0, bf16\n"
CONFIG = dict(
    model=dict(backbone="mit_b0", decoder="all_mlp", num_classes=2),
    optimizer=dict(type="AdamW", lr=1e-3, betas=(0.9, 0.999)),
    train_cfg=dict(max_iters=40, best="mIoU"),
    val_data=dict(dataset=dict(type="folder", root="data", split="val"), num_workers=2),
    inference=dict(mode="whole"),
    seed=3,
)


def trained(iterations, **more):
    return [dict(iter=i, loss=1.0 / i, lr=1e-3, seconds_per_iter=0.5, memory_gb=1.5, **more) for i in iterations]


def validated(iteration, score, classes=CLASSES):
    of_classes = {name: dict(IoU=score + i, Dice=None) for i, name in enumerate(classes)}
    return dict(iter=iteration, mIoU=score, classes=of_classes)


FINISHED = [*trained(range(10, 21, 10)), validated(20, 55.5), *trained(range(30, 41, 10)), validated(40, 50.25)]


def write_run(folder, *, rows=FINISHED, log=BEGUN, classes=CLASSES, weights=True, **sections):
    """A run of 40 iterations, whose config has these sections in place of the usual ones."""
    folder.mkdir(parents=True)
    config = CONFIG | sections
    (folder / "config.py").write_text('"""It."""\n' + "".join(f"{key} = {value!r}\n" for key, value in config.items()))
    (folder / "scalars.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "log.txt").write_text(log)
    if weights:
        header = Header(model=dict(config["model"], spatial_dims=2, in_channels=3), classes=classes)
        write_checkpoint(folder / "best" / "weights.safetensors", {}, header)
    return folder
