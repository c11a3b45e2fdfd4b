"""What a header of nnU-Net's way makes of a scan is what nnU-Net's equations make of it, whatever the network."""

import nibabel
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from densevit import Predictor
from densevit.analyze.inputs import read_images
from densevit.checkpoint import Header, open_checkpoint
from densevit.cli import main
from densevit.export.monai_bundle import export_monai_bundle
from densevit.integrations.nnunet import preparation
from densevit.integrations.nnunet.plans import Plans
from densevit.train.as_trained import check_as_trained
from densevit.volumes.volume import open_volume
from tests.integrations.nnunet import oracle
from tests.predictor.scans import save_checkpoint
from tools.peers import nnunet as made

CT = made.INTENSITIES
SCANS = dict(order=(1, 0, 2), spacing=(1.0, 1.0, 1.0), masked=(True,))


def ct(channel, _mask):
    return (np.clip(channel, CT["percentile_00_5"], CT["percentile_99_5"]) - CT["mean"]) / CT["std"]


def masked_z_score(channel, mask):
    channel[mask] = (channel[mask] - channel[mask].mean()) / channel[mask].std()
    return channel


def z_score(channel, _mask):
    return (channel - channel.mean()) / channel.std()


def unit_range(channel, _mask):
    return (channel - channel.min()) / (channel.max() - channel.min())


class Toy(nn.Module):
    """Three classes; what it says of a voxel depends on where its neighbours lie."""

    def __init__(self, rank, channels):
        super().__init__()
        conv = nn.Conv3d if rank == 3 else nn.Conv2d
        torch.manual_seed(0)
        self.layers = nn.Sequential(conv(channels, 8, 3, padding=1), nn.LeakyReLU(), conv(8, 3, 3, padding=1))
        self.num_classes, self.spatial_dims, self.in_channels, self.of_pictures = 3, rank, channels, rank == 2

    def forward(self, x):
        return self.layers(x)


def save(path, *, spacing, axes, channels):
    """Smooth values with a border of 0 on some sides, (X, Y, Z), one file a channel."""
    files = []
    for channel in range(channels):
        rng = np.random.default_rng(channel)
        noise = gaussian_filter(rng.normal(size=(27, 25, 13)), 1.2)
        image = (noise / noise.std() * 200 + 40).astype(np.float32)
        image[:3], image[:, -4:], image[..., :2] = 0, 0, 0
        affine = np.zeros((4, 4))
        for axis, letter in enumerate(axes):
            affine["LRPAIS".index(letter) // 2, axis] = spacing[axis] * (1 if letter in "RAS" else -1)
        affine[3, 3] = 1
        files.append(path / f"scan_{channel:04d}.nii")
        nibabel.save(nibabel.Nifti1Image(image, affine), files[-1])
    return files


CASES = {
    "CT": {},
    "transposed": dict(order=(1, 2, 0), axes="ARS"),
    "a thick axis": dict(configuration=dict(spacing=[4.0, 1.0, 1.0]), spacing=(1.2, 1.2, 5.0)),
    "thick axes that differ": dict(configuration=dict(spacing=[1.0, 1.0, 4.0]), spacing=(1.2, 1.2, 5.0)),
    "smaller than a window": dict(configuration=dict(patch_size=[16, 40, 36])),
    "an odd window": dict(configuration=dict(patch_size=[5, 11, 13])),
    "masked MR": dict(
        configuration=dict(normalization_schemes=["ZScoreNormalization"], use_mask_for_norm=[True]),
        normalize=masked_z_score,
    ),
    "two channels": dict(
        configuration=dict(normalization_schemes=["RescaleTo01Normalization"] * 2, use_mask_for_norm=[False] * 2),
        normalize=unit_range,
    ),
    "slices": dict(rank=2, mirrored=(0, 1)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_labels_are_those_of_nnunets_equations(tmp_path, case):
    rank, order, mirrored = case.get("rank", 3), case.get("order", (0, 1, 2)), case.get("mirrored", (0, 2))
    plan = made.configuration(rank, **case.get("configuration", {}))
    plans = Plans(made.plans(dict(it=plan), transpose_forward=list(order)), tmp_path / "plans.json")
    configuration, channels = plans.configuration("it"), len(plan["normalization_schemes"])
    network = Toy(rank, channels)
    header = Header.of_model(
        network,
        inference=preparation.inference(configuration, mirrored),
        normalization=preparation.normalization(plans, configuration, channels=channels),
        scans=preparation.scan_options(plans, configuration, axes=None),
        slices=preparation.slices(configuration),
    )
    spacing = case.get("spacing", (1.3, 0.9, 1.7))
    files = save(tmp_path, spacing=spacing, axes=case.get("axes", "LPS"), channels=channels)
    volume = open_volume(files if channels > 1 else files[0])
    volume.write_label(Predictor(network, header).label(volume), tmp_path / "mask.nii")
    image = np.stack([np.asarray(nibabel.load(file).dataobj).transpose(2, 1, 0) for file in files])
    wanted = oracle.predict(
        [network],
        image,
        spacing[::-1],
        plan=plan,
        normalize=case.get("normalize", ct),
        order=order,
        mirrored=mirrored,
    )
    found = np.asarray(nibabel.load(tmp_path / "mask.nii").dataobj).transpose(2, 1, 0)
    assert len(np.unique(wanted)) == 3
    assert (found == wanted).mean() >= 0.9999


def header_of(network, **inference):
    return Header.of_model(
        network,
        inference=dict(mode="slide_nnunet", roi_size=(8, 8, 8), sides=(), **inference),
        scans=SCANS,
    )


def test_views_of_a_window_are_seen_one_by_one():
    """A window fills the memory by itself."""
    network, seen = Toy(3, 1), []
    network.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    Predictor(network, header_of(network, flips=(0, 1, (0, 1)))).label(np.zeros((8, 8, 8), np.float32))
    assert seen == [1] * 4


def test_masked_channels_are_as_many_as_the_images_have():
    with pytest.raises(ValueError, match=r"scans.masked has 1 entries, for 2 channels of its images"):
        header_of(Toy(3, 2))


def save_run(folder, **inference):
    inference = dict(mode="slide_nnunet", roi_size=(16, 24, 24), sides=(), **inference)
    return save_checkpoint(folder / "weights.safetensors", inference=inference, scans=SCANS)


def test_no_flip_leaves_out_the_mirror_images_of_the_checkpoint(tmp_path):
    run, scan = save_run(tmp_path / "run", flips=(0, 2)), save(tmp_path, spacing=(1, 1, 1), axes="RAS", channels=1)[0]
    assert main(["predict", str(run), str(scan), "-o", str(tmp_path / "out"), "--no-flip", "--device", "cpu"]) == 0
    found = np.asarray(nibabel.load(tmp_path / "out" / "scan.nii.gz").dataobj).transpose(2, 1, 0)
    assert np.array_equal(found, Predictor(run, flips=()).label(scan))
    assert not np.array_equal(found, Predictor(run).label(scan))


def test_what_sees_scans_otherwise_is_neither_a_bundle_nor_scored_on_a_set_that_does_not(tmp_path):
    run = save_run(tmp_path / "run")
    with pytest.raises(ValueError, match="sees scans turned, cut out and resampled as another program did, which a b"):
        export_monai_bundle(run, tmp_path / "bundle")
    with pytest.raises(ValueError, match="compare these by `densevit evaluate`"):
        check_as_trained(run, open_checkpoint(run).header)


def test_analysis_sees_a_scan_as_the_network_does(tmp_path):
    run, scan = save_run(tmp_path / "run"), save(tmp_path, spacing=(0.5, 1, 1), axes="RAS", channels=1)[0]
    (seen,) = read_images(Predictor(run), [scan], size=[8, 8, 8])
    assert seen.spacing == pytest.approx((1, 1, 1))
    assert seen.original == (13, 25, 27)


def test_of_regions_the_last_that_is_there_counts_on_the_scans_own_grid(tmp_path):
    configuration = Plans(made.plans(dict(it=made.configuration())), tmp_path).configuration("it")
    network, scans = Toy(3, 1), preparation.scan_options(Plans(made.plans({}), tmp_path), configuration, axes=None)
    inference = preparation.inference(configuration, (), overlapping=True)
    header = Header.of_model(network, inference=inference, scans=scans, label_values=(0, 7, 2))
    scan = save(tmp_path, spacing=(1.3, 0.9, 1.7), axes="RAS", channels=1)[0]
    predictor = Predictor(network, header)
    seen = predictor.reader.prepare(predictor.reader.open(scan))
    logits = torch.nn.functional.interpolate(predictor(scan).logits[None], seen.native.size, mode="trilinear")[0]
    part = np.where(logits[2] > 0, 2, np.where(logits[1] > 0, 7, 0))
    found = predictor.label(scan)
    assert (found == seen.restore(part)).mean() > 0.9999
    assert set(np.unique(found)) == {0, 2, 7}
