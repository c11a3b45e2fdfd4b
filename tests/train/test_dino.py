"""DINO as a task of the one loop: pictures and volumes without labels, its loss, its teacher, and what starts from it."""

import json
import math

import nibabel
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import densevit
from densevit.checkpoint import open_checkpoint
from densevit.runs.run import open_runs
from densevit.train import check_config, train
from densevit.train.dino.collapse import observe, said_of_collapse
from densevit.train.dino.loss import Centre, dino_loss
from densevit.train.dino.network import DinoHead
from densevit.train.schedules import clip_each, cosine, warm_up
from densevit.weights import load_weights, read_weights

SMALL = dict(dim=24, depth=2, num_heads=2, patch_size=8, image_size=32, taps=(0, 1))
HEAD = dict(out_dim=32, hidden_dim=16, bottleneck_dim=8)


def config(root, **changes):
    return (
        dict(
            task="dino",
            model=dict(backbone="vit_tiny", backbone_options=SMALL),
            head=HEAD,
            teacher=dict(momentum=0.9, first_temperature=0.02, warmup_iters=2),
            freeze_last_layer_iters=1,
            optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.04, no_decay=("norm", "bias")),
            schedule=dict(type="cosine", end_weight_decay=0.4),
            train_cfg=dict(max_iters=3, val_interval=3, checkpoint_interval=2, log_interval=1, clip_grad=3.0,
                           clip_each=True, best="mIoU"),
            train_data=dict(
                dataset=dict(type="folder", root=str(root)),
                augment=dict(global_size=(32, 32), local_size=(16, 16), num_locals=2),
                batch_size=2,
                num_workers=0,
            ),
            val_data=dict(dataset=dict(type="folder", root=str(root), split="val"), num_workers=0),
            visualization=dict(tensorboard=False),
        )
        | changes
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    return train(config(scenes), work_dir=tmp_path_factory.mktemp("run"), device="cpu", progress=False)


def test_smoke(trained):
    print((trained.work_dir / "scalars.jsonl").read_text())
