"""A tiny checkpoint of pictures, one of scans, and pages that are made of them once."""

import pytest
import torch

import densevit
from densevit.checkpoint import Header
from densevit.checkpoint.files import write_checkpoint
from tests.predictor.common import save_photo

NARROW = dict(dims=(8, 16, 40, 64))


def save_checkpoint(path, backbone="mit_b0", decoder="vt_fpn", *, options=NARROW, score=40.0, **header):
    description = dict(
        backbone=backbone,
        decoder=decoder,
        num_classes=3,
        backbone_options=options,
        decoder_options=dict(dim=16),
        spatial_dims=header.pop("spatial_dims", 2),
        in_channels=header.pop("in_channels", 3),
    )
    torch.manual_seed(0)
    model = densevit.create_segmentor(**description)
    torch.nn.init.normal_(model.head.weight)
    path.parent.mkdir(parents=True, exist_ok=True)
    training = dict(iteration=1, scores=dict(mIoU=score, aAcc=50.0))
    header = Header(model=description, classes=("sky", "road", "car"), training=training, **header)
    write_checkpoint(path, model, header)
    return path.parent


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("runs") / "narrow" / "weights.safetensors")


@pytest.fixture(scope="session")
def photo_file(tmp_path_factory):
    return save_photo(tmp_path_factory.mktemp("photos") / "<b>street.png", size=(72, 100))
