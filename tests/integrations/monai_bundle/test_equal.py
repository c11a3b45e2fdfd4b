"""A bundle's masks are those of MONAI's own chain, voxel by voxel, whatever its transforms and windows are."""

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from densevit.cli.main import main
from densevit.integrations.monai_bundle import import_monai_bundle
from densevit.predictor import Predictor
from tests.integrations.monai.common import save_scan
from tests.integrations.monai_bundle.bundles import (
    ARGMAX,
    INVERT,
    ORIENTATION,
    RANGE,
    SOFTMAX,
    SPACING,
    WINDOWS,
    make_configs,
    make_network,
    run_monai,
    write_bundle,
)
from tools.peers import import_peer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
NORMALIZE = dict(_target_="NormalizeIntensityd", keys="image", nonzero=True)
TURNED = Rotation.from_euler("xyz", [4, -3, 5], degrees=True).as_matrix()
OBLIQUE = np.vstack([np.hstack([TURNED * [1.4, 1.5, 2.0], [[-9], [8], [4]]]), [0, 0, 0, 1]])
CHAINS = {
    "as most bundles": dict(),
    "clipped before spacing, other axes": dict(before=(ORIENTATION | dict(axcodes="PLS"), RANGE, SPACING)),
    "logits, weighted windows": dict(
        before=(ORIENTATION, SPACING, NORMALIZE),
        inferer=WINDOWS | dict(mode="gaussian", overlap=[0.6, 0.5, 0.1]),
        after=(INVERT, ARGMAX),
    ),
    "windows larger than the scan": dict(inferer=WINDOWS | dict(roi_size=[32, 8, 40])),
    "axes of the file, other range": dict(
        before=(RANGE | dict(b_min=-1.0), SPACING | dict(pixdim=[1.3, -1, 2])), after=(SOFTMAX, INVERT, ARGMAX)
    ),
    "seen whole": dict(
        before=(ORIENTATION, dict(_target_="ScaleIntensityd", keys="image")),
        inferer=dict(_target_="SimpleInferer"),
        after=(ARGMAX, INVERT),
    ),
}


@pytest.fixture(scope="module", autouse=True)
def monai():
    return import_peer("monai")


@pytest.mark.parametrize("chain", CHAINS)
def test_masks_are_those_of_monai(chain, tmp_path):
    network = make_network()
    size = (24, 20, 26) if chain == "seen whole" else (25, 22, 27)
    scan = save_scan(tmp_path / "scans" / "case.nii.gz", axes="LSP", size=size, affine=OBLIQUE)
    bundle = write_bundle(tmp_path / "bundle", *make_configs(**CHAINS[chain]), network=network)
    theirs = run_monai(bundle, scan, network)
    checkpoint = import_monai_bundle(bundle, tmp_path / "imported")
    predictor = Predictor(checkpoint)
    volume = predictor.reader.open(scan)
    ours = volume.on_own_axes(predictor.label(volume))
    assert np.unique(theirs).tolist() == [0, 1, 2]
    assert ours.shape == theirs.shape
    assert (ours == theirs).mean() >= 0.999


def test_the_command_imports_a_bundle_and_predicts_its_masks(tmp_path, capsys):
    network = make_network()
    scan = save_scan(tmp_path / "scans" / "case.nii.gz", axes="LSP", affine=np.diag([1.4, 1.5, 2.0, 1.0]))
    bundle = write_bundle(tmp_path / "bundle", *make_configs(), network=network)
    assert main(["import", "monai-bundle", str(bundle), "-o", str(tmp_path / "spleen")]) == 0
    assert "weights.safetensors" in capsys.readouterr().out
    assert main(["predict", str(tmp_path / "spleen"), str(scan), "-o", str(tmp_path / "masks")]) == 0
    (mask,) = (tmp_path / "masks").glob("*.nii.gz")
    theirs = run_monai(bundle, scan, network)
    assert (np.asarray(nibabel.load(mask).dataobj) == theirs).mean() >= 0.999
    assert main(["import", "monai-bundle", str(bundle), "-o", str(tmp_path / "again"), "--folds", "0"]) == 2
    assert "--folds is for folders of nnU-Net" in capsys.readouterr().err
