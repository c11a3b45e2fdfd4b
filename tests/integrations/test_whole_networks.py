"""Whole networks of packages for pictures are trained, scored, saved and predict as our own models do."""

import numpy as np
import pytest
import torch

from densevit.checkpoint import open_checkpoint
from densevit.predictor import Predictor
from densevit.train import train
from tests.train.conftest import CLASSES, small_config, write_scene
from tools.peers import import_peer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
NETWORKS = {
    "smp.FPN": ("segmentation_models_pytorch", dict(encoder_name="tu-test_resnet", decoder_pyramid_channels=16)),
    "transformers.SegformerForSemanticSegmentation": (
        "transformers",
        dict(hidden_sizes=[4, 8, 8, 16], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2]),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_trains_is_saved_and_predicts(name, tmp_path):
    package, options = NETWORKS[name]
    import_peer(package)
    (tmp_path / "classes.json").write_text(f'{{"classes": ["{CLASSES[0]}", "{CLASSES[1]}", "{CLASSES[2]}"]}}')
    for split in ("train", "val"):
        write_scene(tmp_path, split, "0", rng=np.random.default_rng(0))
    config = small_config(tmp_path)
    config["model"] = dict(backbone=name, decoder=None, num_classes=3, backbone_options=options)
    config["train_cfg"] |= dict(max_iters=2, val_interval=2, checkpoint_interval=2)
    config["optimizer"].pop("lr_multipliers")
    result = train(config, work_dir=tmp_path / "run", device="cpu")
    assert 0 <= result.scores["mIoU"] <= 100
    header = open_checkpoint(result.checkpoint).header
    assert (header.model["backbone"], header.model["decoder"]) == (name, None)
    predictor = Predictor(result.checkpoint)
    image = torch.randint(0, 256, (3, 45, 50), dtype=torch.uint8)
    with torch.inference_mode():
        assert predictor(image).label.shape == (45, 50)
