"""What the records of published files say is what the packages say that their publishers keep."""

from importlib.metadata import distribution

import pytest
import yaml

from densevit.weights import known_weights
from tools.peers import import_peer, import_torchvision_shim

pytestmark = pytest.mark.parity

LICENCES = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "bsd-3-clause": "BSD-3-Clause",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "dinov3-license": "DINOv3 License",
}


def named(start):
    return {name.removeprefix(start): file for name, file in known_weights().items() if name.startswith(start)}


def test_timm_has_each_file_with_this_licence_normalization_and_number_of_classes():
    timm = import_peer("timm")
    files = named("timm/")
    assert len(files) > 100
    for name, file in files.items():
        theirs = timm.get_pretrained_cfg(name, allow_unregistered=False)
        assert theirs.hf_hub_id == file.name
        assert LICENCES[theirs.license] == file.licence, name
        assert file.num_classes in (None, theirs.num_classes), name
        for key in ("mean", "std"):
            assert file.normalization[key] == pytest.approx([255 * value for value in getattr(theirs, key)]), name
        if "image_size" in file.options:
            assert theirs.input_size[-1] == file.options["image_size"], name


def test_torchvision_has_each_file_with_this_score():
    models = import_torchvision_shim().models
    files = {name: file for name, file in known_weights().items() if "_Weights." in name}
    assert len(files) == 13
    for name, file in files.items():
        kind, _, version = name.partition(".")
        theirs = getattr(models, kind, None) or getattr(models.video, kind)
        assert theirs[version].url == file.address
        [scores] = theirs[version].meta["_metrics"].values()
        assert file.score.startswith(f"{scores['acc@1']:g} %")


def test_mmsegmentation_has_each_file_with_this_score():
    models = {}
    for family in ("segformer", "swin"):
        page = distribution("mmsegmentation").locate_file(f"mmseg/.mim/configs/{family}/metafile.yaml")
        models |= {model["Name"]: model for model in yaml.safe_load(page.read_text())["Models"]}
    files = {name: file for name, file in known_weights().items() if file.address and "openmmlab" in file.address}
    assert len(files) == 18
    for name, file in files.items():
        assert models[name]["Weights"] == file.address
        assert f"mIoU {models[name]['Results']['Metrics']['mIoU']}," in file.score


def test_segmentation_models_pytorch_asks_for_the_same_revisions():
    encoders = import_peer("segmentation_models_pytorch").encoders.encoders
    for name, file in named("smp-hub/").items():
        theirs = encoders[file.backbone]["pretrained_settings"]["imagenet"]
        assert (theirs["repo_id"], theirs["revision"]) == (f"smp-hub/{name}", file.revision)
