"""Small MONAI bundles with random weights, written as others write them, and what MONAI's own chain makes of a scan."""

import json
from pathlib import Path

import nibabel
import numpy as np
import torch

NETWORK = dict(
    _target_="UNet", spatial_dims=3, in_channels=1, out_channels="@classes", channels=[4, 8], strides=[2], norm="batch"
)
LOAD = [dict(_target_="LoadImaged", keys="@image_key"), dict(_target_="EnsureChannelFirstd", keys="@image_key")]
ORIENTATION = dict(_target_="Orientationd", keys="image", axcodes="RAS", labels=None)
SPACING = dict(_target_="Spacingd", keys="image", pixdim=["$@spacing * 2", "@spacing", 2.7], mode="bilinear")
RANGE = dict(_target_="ScaleIntensityRanged", keys="image", a_min=-300, a_max=400.0, b_min=0.0, b_max=1.0, clip=True)
TYPE = dict(_target_="EnsureTyped", keys="image", device="@device")
WINDOWS = dict(_target_="SlidingWindowInferer", roi_size="@roi_size", sw_batch_size=2, overlap=0.25)
SOFTMAX = dict(_target_="Activationsd", keys="pred", softmax=True)
INVERT = dict(_target_="Invertd", keys="pred", transform="@preprocessing", orig_keys="image", nearest_interp=False)
ARGMAX = dict(_target_="AsDiscreted", keys="pred", argmax=True)
SAVE = dict(_target_="SaveImaged", keys="pred", output_dir="@output_dir", resample=False, print_log=False)


def make_configs(*, before=(ORIENTATION, SPACING, RANGE), inferer=WINDOWS, after=(SOFTMAX, INVERT, ARGMAX), **changes):
    inference = dict(
        imports=["$import os", "$raise SystemExit('code of the bundle was run')"],
        bundle_root=".",
        device="$torch.device('cpu')",
        output_dir="$@bundle_root + '/eval'",
        image_key="image",
        classes="$2 + 1",
        spacing=0.9,
        roi_size=[16, 16, 16],
        network_def=NETWORK,
        network="$@network_def.to(@device)",
        preprocessing=dict(_target_="Compose", transforms=[*LOAD, *before, TYPE]),
        inferer=inferer,
        postprocessing=dict(_target_="Compose", transforms=[*after, SAVE]),
        evaluator=dict(_target_="SupervisedEvaluator", network="@network", run="$@evaluator.run()"),
    )
    image = dict(type="image", modality="CT", num_channels=1)
    names = {"0": "background", "1": "spleen", "2": "kidney"}
    formats = dict(inputs=dict(image=image), outputs=dict(pred=dict(num_channels=3, channel_def=names)))
    metadata = dict(name="spleen_ct", version="0.5.1", network_data_format=formats)
    return inference | changes, metadata


def write_bundle(folder: Path, *configs, network: torch.nn.Module, state=None):
    for name, content in zip(("inference", "metadata"), configs, strict=True):
        path = folder / "configs" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    (folder / "models").mkdir()
    torch.save(network.state_dict() if state is None else state, folder / "models" / "model.pt")
    return folder


def make_network(**changes) -> torch.nn.Module:
    """UNet of MONAI with random weights, by which every class is the most probable one somewhere."""
    from monai.networks.nets import UNet

    torch.manual_seed(0)
    options = {key: value for key, value in NETWORK.items() if not key.startswith("_")} | dict(out_channels=3)
    network = UNet(**options | changes).eval()
    for parameter in network.parameters():
        parameter.data *= 2
    return network


def run_monai(folder: Path, scan: Path, network: torch.nn.Module) -> np.ndarray:
    """The mask (X, Y, Z) that MONAI's chain of the bundle writes for a scan, in this process."""
    from monai.bundle import ConfigParser

    parser = ConfigParser(json.loads((folder / "configs" / "inference.json").read_text()) | dict(imports=[]))
    parser["bundle_root"], parser["device"] = str(folder), "cpu"
    parser.parse(reset=True)
    before, inferer, after = map(parser.get_parsed_content, ("preprocessing", "inferer", "postprocessing"))
    sample = before(dict(image=str(scan)))
    with torch.inference_mode():
        sample["pred"] = inferer(sample["image"][None], network)[0]
    after(sample)
    (path,) = (folder / "eval").rglob("*.nii.gz")
    return np.asarray(nibabel.load(path).dataobj).astype(int)
