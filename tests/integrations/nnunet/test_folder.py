"""Folders of nnU-Net's results: what becomes of them, and what is refused in one sentence."""

import json
import pickle

import numpy as np
import pytest
import torch

from densevit import Predictor, create_segmentor
from densevit.checkpoint import build_model, open_checkpoint
from densevit.cli import main
from densevit.integrations.nnunet import import_nnunet
from densevit.integrations.nnunet.architecture import describe_model
from densevit.integrations.nnunet.plans import read_plans
from densevit.weights import to_theirs
from tools.peers import nnunet as peer
from tools.peers.nnunet import DATASET, configuration, plans, states, write_folder


def described(tmp_path, content, *, trainer="nnUNetTrainer"):
    path = tmp_path / "plans.json"
    path.write_text(json.dumps(plans({"3d_fullres": content})))
    found = read_plans(path).configuration("3d_fullres")
    return describe_model(found, in_channels=1, num_classes=3, num_folds=1, trainer=trainer, regions=False)


def without(content, *keys):
    return {key: value for key, value in content.items() if key not in keys}


def test_old_and_new_plans_say_the_same_network(tmp_path):
    new = configuration()
    new["architecture"]["arch_kwargs"]["features_per_stage"] = [8, 12, 12]
    old = without(configuration(), "architecture") | peer.old_style()
    options = described(tmp_path, new)["backbone_options"]
    assert {key: options[key] for key in described(tmp_path, old)["backbone_options"]} == (
        described(tmp_path, old)["backbone_options"]
    )
    assert without(options, "num_folds", "background", *described(tmp_path, old)["backbone_options"]) == dict(
        bias=True, norm="instance", norm_eps=1e-5, norm_affine=True, negative_slope=0.01, norm_last=False
    )


def test_a_residual_encoder_has_a_network_of_its_own_and_a_trainer_may_take_batch_norm(tmp_path):
    content = configuration(architecture=peer.architecture(residual=True))
    assert described(tmp_path, content)["backbone"] == "dna.ResUNet"
    made = described(tmp_path, configuration(), trainer="nnUNetTrainerBN")
    assert (made["backbone"], made["backbone_options"]["norm"]) == ("dna.UNet", "batch")


def test_a_configuration_has_what_it_inherits_and_its_own_counts_first(tmp_path):
    path = tmp_path / "plans.json"
    path.write_text(
        json.dumps(plans({"base": configuration(), "mine": dict(inherits_from="base", patch_size=[8, 8, 8])}))
    )
    found = read_plans(path).configuration("mine")
    assert found.patch_size == (8, 8, 8)
    assert found.spacing == (2.0, 1.0, 1.0)


def changed(**kwargs):
    content = configuration()
    content["architecture"]["arch_kwargs"] |= kwargs
    return content


REGIONS = dict(background=0, whole=[1, 2], core=2)
FAULTS = {
    "another network": (
        dict(content=configuration(architecture=dict(network_class_name="mine.Net", arch_kwargs={}))),
        "names the network 'mine.Net', and PlainConvUNet and ResidualEncoderUNet are known here",
    ),
    "another norm": (dict(content=changed(norm_op="torch.nn.GroupNorm")), "norm_op='torch.nn.GroupNorm', and Instance"),
    "another argument": (dict(content=changed(squeeze=True)), "has squeeze=True, which nnU-Net's own planners do not"),
    "an argument is missing": (
        dict(content=configuration(architecture=dict(network_class_name="a.PlainConvUNet", arch_kwargs={}))),
        "lacks features_per_stage, kernel_sizes, strides",
    ),
    "another resampling": (dict(content=configuration(resampling_fn_data="mine")), "resampling_fn_data names 'mine'"),
    "other options of it": (
        dict(content=configuration(resampling_fn_data_kwargs=dict(order=5))),
        "has options {'order': 5} that nnU-Net's own planners do not write",
    ),
    "another normalisation": (
        dict(content=configuration(normalization_schemes=["Mine"])),
        "names the normalisation 'Mine'; did you mean|known",
    ),
    "another preprocessor": (
        dict(content=configuration(preprocessor_name="Mine")),
        "names Mine in the place of nnU-Net's DefaultPreprocessor",
    ),
    "a cascade": (
        dict(content=configuration(previous_stage="3d_lowres")),
        "sees the label maps of 3d_lowres beside the image, and a checkpoint holds one network",
    ),
    "a circle": (dict(content=configuration(inherits_from="3d_fullres")), "inherits from itself"),
    "a key is missing": (dict(content=without(configuration(), "patch_size")), "lacks the key 'patch_size'"),
    "a key of another type": (
        dict(content=configuration(patch_size="8")),
        "patch_size must be a list of whole numbers",
    ),
    "another reader": (
        dict(plans=dict(image_reader_writer="NaturalImage2DIO")),
        "reads images by NaturalImage2DIO, and scans by SimpleITKIO, NibabelIO",
    ),
    "another configuration": (dict(name="3d_lowres"), "has no configuration '3d_lowres'; did you mean 3d_fullres"),
    "no numbers of CT": (
        dict(plans=dict(foreground_intensity_properties_per_channel={})),
        "lacks percentile_00_5, percentile_99_5, mean, std of channel 0, which its CTNormalization needs",
    ),
    "regions without an order": (dict(dataset=DATASET | dict(labels=REGIONS)), "lacks the key 'regions_class_order'"),
    "regions of one value": (
        dict(dataset=DATASET | dict(labels=REGIONS, regions_class_order=[1, 1])),
        r"has the regions whole, core and regions_class_order \[1, 1\], and a value above 0 of its own is expected",
    ),
    "gaps": (
        dict(dataset=DATASET | dict(labels=dict(background=0, liver=2))),
        r"has labels of the values \[0, 2\], and nnU-Net numbers its outputs from 0 without gaps",
    ),
    "other channels": (
        dict(dataset=DATASET | dict(channel_names={"0": "CT", "1": "PET"})),
        "normalises 1 channels, and dataset.json names 2",
    ),
}


@pytest.mark.parametrize(("changes", "fault"), FAULTS.values(), ids=FAULTS)
def test_what_is_not_known_here_is_one_sentence(tmp_path, capsys, changes, fault):
    content = plans({"3d_fullres": changes.get("content", configuration())}, **changes.get("plans", {}))
    options = {key: changes[key] for key in ("dataset", "name") if key in changes}
    folder = write_folder(tmp_path / "results", content, **options)
    with pytest.raises(ValueError, match=fault):
        import_nnunet(folder, tmp_path / "ours")
    assert main(["import", "nnunet", str(folder), "-o", str(tmp_path / "ours")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "ours").exists()


def test_what_is_not_there_is_said_with_what_is(tmp_path):
    folder = write_folder(tmp_path / "a__b__c", plans({"3d_fullres": configuration()}), folds=(0, 2))
    with pytest.raises(FileNotFoundError, match=r"has no plans.json; give one of its folders: a__b__c"):
        import_nnunet(tmp_path, tmp_path / "ours")
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*nowhere"):
        import_nnunet(tmp_path / "nowhere", tmp_path / "ours")
    with pytest.raises(FileNotFoundError, match=r"has no fold 1; there are 0, 2"):
        import_nnunet(folder, tmp_path / "ours", folds=[0, 1])
    with pytest.raises(FileNotFoundError, match=r"fold_0 has no checkpoint_best.pth; there is checkpoint_final.pth"):
        import_nnunet(folder, tmp_path / "ours", checkpoint="best")
    (folder / "plans.json").unlink()
    (folder / "plans.pkl").touch()
    with pytest.raises(FileNotFoundError, match="it is of nnU-Net's first version"):
        import_nnunet(folder, tmp_path / "ours")


class Runs:
    def __reduce__(self):
        return print, ("code of a checkpoint ran",)


def test_no_code_of_a_checkpoint_runs(tmp_path, capsys):
    folder = write_folder(tmp_path / "results", plans({"3d_fullres": configuration()}), more=Runs())
    with pytest.raises(ValueError, match="was not loaded: it asks for print, which plain weights never need"):
        import_nnunet(folder, tmp_path / "ours")
    assert "ran" not in capsys.readouterr().out
    path = folder / "fold_0" / "checkpoint_final.pth"
    path.write_bytes(pickle.dumps(dict(weights=1)))
    with pytest.raises(ValueError, match="is no checkpoint of nnU-Net's second version"):
        import_nnunet(folder, tmp_path / "ours")


NETWORKS = {
    "plain": dict(content=configuration()),
    "residual, two folds": dict(content=configuration(architecture=peer.architecture(residual=True)), folds=2),
    "of regions": dict(
        content=configuration(),
        dataset=DATASET | dict(labels=REGIONS | dict(ignore=3), regions_class_order=[7, 2]),
        outputs=2,
    ),
    "of pictures": dict(content=configuration(2), name="2d", mirrored=(0, 1)),
}


@pytest.mark.parametrize("case", NETWORKS.values(), ids=NETWORKS)
def test_an_imported_network_gives_the_mean_of_its_folds_and_stores_each_number_once(tmp_path, case):
    content, count, name = case["content"], case.get("folds", 1), case.get("name", "3d_fullres")
    networks, weights = states(content, folds=count, outputs=case.get("outputs", 3))
    folder = write_folder(
        tmp_path / "results",
        plans({name: content}),
        name=name,
        folds=range(count),
        states=weights,
        mirrored=case.get("mirrored"),
        dataset=case.get("dataset", DATASET),
    )
    assert main(["import", "nnunet", str(folder), "-o", str(tmp_path / "ours")]) == 0
    opened = open_checkpoint(tmp_path / "ours")
    image = torch.randn(1, 1, *content["patch_size"])
    with torch.no_grad():
        wanted = sum(network(image) for network in networks) / count
        found = build_model(opened)(image)
    torch.testing.assert_close(found[:, -wanted.shape[1] :], wanted)
    assert found.shape[1] == 3
    numbers = sum(parameter.numel() for network in networks for parameter in network.parameters())
    assert sum(tensor.numel() for tensor in opened.tensors.values()) == numbers
    header = opened.header
    overlapping = "outputs" in case
    assert header.classes == (("background", "whole", "core") if overlapping else tuple(DATASET["labels"]))
    assert header.values.tolist() == ([0, 7, 2] if overlapping else [0, 1, 2])
    assert header.inference.overlapping is overlapping
    assert not overlapping or not found[:, 0].any()
    assert header.modality == ("CT",)
    assert header.inference.roi_size == tuple(content["patch_size"])
    assert len(header.inference.flips) == (3 if "mirrored" in case else 0)
    assert header.more["nnunet"]["folds"] == list(map(str, range(count)))
    size = (9, 30, 20)
    assert Predictor(opened).label(np.random.default_rng(0).normal(size=size)).shape == size


def test_weights_of_another_network_than_the_plans_say_are_refused(tmp_path):
    _, weights = states(configuration())
    weights[0]["encoder.stages.0.0.convs.0.conv.weight"] = torch.zeros(4, 1, 1, 3, 3)
    folder = write_folder(tmp_path / "results", plans({"3d_fullres": configuration()}), states=weights)
    with pytest.raises(ValueError, match=r"conv.weight is 4x1x1x3x3, and 8x1x1x3x3 by the plans; its trainer nnUNetTr"):
        import_nnunet(folder, tmp_path / "ours")


@pytest.mark.parametrize(
    ("trainer", "name"),
    [
        ("nnUNet_Primus_S_Trainer", "primus_small"),
        ("nnUNet_Primus_M_Trainer_BS8_2e4", "primus_medium"),
        ("nnUNet_PrimusV2B_Trainer", "primus_v2_base"),
        ("nnUNet_PrimusV3L_Trainer", "primus_v3_large"),
    ],
)
def test_trainers_of_primus_name_our_own_networks(tmp_path, trainer, name):
    made = described(tmp_path, configuration(), trainer=trainer)
    assert (made["backbone"], made["decoder"]) == (name, "patch_decode")
    assert made["backbone_options"] == dict(image_size=[8, 24, 16])


def test_a_primus_has_the_weights_of_its_one_fold(tmp_path):
    options = dict(image_size=[16, 16, 16])
    shape = dict(num_classes=3, spatial_dims=3, in_channels=1)
    model = create_segmentor("primus_small", "patch_decode", **shape, backbone_options=options)
    state = to_theirs(model.state_dict(), "nnunet_primus")
    content = plans({"3d_fullres": configuration(patch_size=[16, 16, 16])})
    options = dict(folds=(0, 1), states=[state, {}], trainer="nnUNet_Primus_S_Trainer")
    folder = write_folder(tmp_path / "results", content, **options)
    with pytest.raises(ValueError, match=r"of a Primus, of which one fold is imported.*; give --folds 0"):
        import_nnunet(folder, tmp_path / "ours")
    opened = open_checkpoint(import_nnunet(folder, tmp_path / "ours", folds=[0]))
    assert all(torch.equal(opened.tensors[name], tensor) for name, tensor in model.state_dict().items())
    assert opened.header.model["backbone"] == "primus_small"
