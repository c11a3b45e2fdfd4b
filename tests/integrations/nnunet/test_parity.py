"""Masks of an imported folder beside those of nnU-Net's own predictor, where the package is installed.

It keeps its sums in float16: where two classes lie within their rounding, it may name the other one.
"""

import warnings

import nibabel
import numpy as np
import pytest
import torch

from densevit import Predictor
from densevit.integrations.nnunet import import_nnunet
from densevit.volumes.volume import open_volume
from tests.integrations.nnunet.test_prediction import save
from tools.peers import import_peer
from tools.peers.nnunet import architecture, configuration, plans, states, write_folder

CASES = {
    "plain": (configuration(), dict(transpose_forward=[1, 0, 2], transpose_backward=[1, 0, 2]), 1),
    "two folds": (configuration(architecture=architecture(residual=True)), {}, 2),
    "a thick axis": (configuration(spacing=[4.0, 1.0, 1.0]), dict(image_reader_writer="NibabelIOWithReorient"), 1),
}


@pytest.fixture(scope="module")
def nnunet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_peer("nnunetv2")
        return import_peer("nnunetv2.inference.predict_from_raw_data").nnUNetPredictor


@pytest.mark.parity
@pytest.mark.parametrize(("content", "changes", "folds"), CASES.values(), ids=CASES)
def test_masks_are_those_of_nnunets_own_predictor(tmp_path, nnunet, content, changes, folds):
    _, weights = states(content, folds=folds)
    folder = write_folder(
        tmp_path / "results", plans({"3d_fullres": content}, **changes), folds=range(folds), states=weights
    )
    spacing = (1.2, 1.2, 5.0) if content["spacing"][0] == 4 else (1.3, 0.9, 1.7)
    file = save(tmp_path, spacing=spacing, axes="LPS", channels=1)[0]
    volume = open_volume(file)
    ours = Predictor(import_nnunet(folder, tmp_path / "ours")).label(volume)
    volume.write_label(ours, tmp_path / "ours.nii.gz")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predictor = nnunet(device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(folder), tuple(range(folds)))
        reader = predictor.plans_manager.image_reader_writer_class()
        label = predictor.predict_single_npy_array(*reader.read_images([str(file)]))
        reader.write_seg(label, str(tmp_path / "theirs.nii.gz"), reader.read_images([str(file)])[1])
    found, wanted = (np.asarray(nibabel.load(tmp_path / f"{who}.nii.gz").dataobj) for who in ("ours", "theirs"))
    assert len(np.unique(wanted)) > 1
    assert (found == wanted).mean() >= 0.999
