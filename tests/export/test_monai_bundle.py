"""A bundle is complete, is what MONAI's own checks accept, and gives the masks of `densevit predict`."""

import json
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import torch

from densevit.checkpoint import find_weights
from densevit.cli.main import main
from densevit.export import monai_bundle
from densevit.export.monai_bundle import export_monai_bundle
from densevit.export.monai_metadata import About
from densevit.export.torchscript import TraceError
from densevit.imports import import_modules
from densevit.metrics import MeasureOptions, measure, summarize
from densevit.predictor import Predictor
from densevit.registry import BACKBONES
from tests.integrations.monai.common import VALUES, save_checkpoint, save_scan
from tools.peers import import_peer

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning", "ignore::torch.jit.TracerWarning"
)
SPACING = [3.0, 2.0, 2.0]
SIZES = dict(a=(24, 22, 26), b=(24, 22, 1), c=(20, 22, 26))  # of scans in folders of their own
# What the schema of MONAI's bundles demands, in our words.
TENSOR = dict(
    type="object",
    required=["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
    properties=dict(
        num_channels=dict(type="integer"),
        spatial_shape=dict(type="array", items=dict(type=["string", "integer"])),
        value_range=dict(type="array", items=dict(type="number")),
        is_patch_data=dict(type="boolean"),
        channel_def=dict(type="object"),
    ),
)
TEXTS = ["schema", "version", "monai_version", "pytorch_version", "numpy_version"]
TEXTS += ["task", "description", "authors", "copyright"]
SCHEMA = dict(
    type="object",
    required=[*TEXTS, "required_packages_version", "network_data_format"],
    properties={name: dict(type="string") for name in TEXTS}
    | dict(
        required_packages_version=dict(type="object"),
        eval_metrics=dict(type="object"),
        network_data_format=dict(
            type="object",
            required=["inputs", "outputs"],
            properties={key: dict(type="object", additionalProperties=TENSOR) for key in ("inputs", "outputs")},
        ),
    ),
)


@pytest.fixture(scope="module")
def monai():
    """MONAI's bundle commands."""
    for name in ("nibabel", "ignite", "fire", "jsonschema"):
        import_peer(name)
    return import_peer("monai.bundle")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run, with its best weights."""
    folder = tmp_path_factory.mktemp("run")
    training = dict(scores=dict(mCaseDice=61.5, classes={}))
    save_checkpoint(folder / "best" / "weights.safetensors", spacing=SPACING, training=training)
    return folder


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    return export_monai_bundle(run, tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture(scope="module")
def decathlon(tmp_path_factory):
    """Two cases to train on and two to validate on, in two orientations."""
    root, entries = tmp_path_factory.mktemp("data"), []
    for i in range(4):
        for kind in ("image", "label"):
            path = root / f"{kind}sTr" / f"case_{i}.nii.gz"
            save_scan(path, seed=i, axes=("RAS", "LPS")[i % 2], label=kind == "label")
        entries.append({kind: f"./{kind}sTr/case_{i}.nii.gz" for kind in ("image", "label")})
    labels = {"0": "background", "2": "liver", "7": "tumour"}
    content = dict(labels=labels, modality={"0": "MRI"}, training=entries[:2], validation=entries[2:])
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def read(folder, name):
    return json.loads((folder / "configs" / f"{name}.json").read_text())


def values(path):
    return np.asarray(nibabel.load(path).dataobj)


def predict_in_monai(monai, folder, datalist, output, **override):
    config = str(folder / "configs" / "inference.json")
    monai.run(config_file=config, bundle_root=str(folder), datalist=datalist, output_dir=str(output), **override)


def check_mask(mask, scan, predictor):
    image = nibabel.load(mask)
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_allclose(image.affine, nibabel.load(scan).affine, atol=1e-5)
    from densevit.volumes.volume import open_volume

    volume = open_volume(scan)
    expected = volume.on_own_axes(predictor.label(volume))
    assert len(np.unique(expected)) > 1
    assert np.array_equal(values(mask), expected)


def test_a_run_of_the_bundle_gives_the_masks_of_densevit_predict(monai, bundle, run, tmp_path):
    scans = [save_scan(tmp_path / "in" / f"{axes}.nii.gz", axes=axes) for axes in ("RAS", "LPS", "SAR", "IRP")]
    predict_in_monai(monai, bundle, str(tmp_path / "in"), tmp_path / "out")
    predictor = Predictor(find_weights(run))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        f"{scan.name.removesuffix('.nii.gz')}_seg.nii.gz" for scan in scans
    )
    for scan in scans:
        check_mask(tmp_path / "out" / f"{scan.name.removesuffix('.nii.gz')}_seg.nii.gz", scan, predictor)


def test_the_command_of_the_readme_runs(monai, bundle, run, tmp_path):
    scan = save_scan(tmp_path / "scan.nii.gz")
    assert "python -m monai.bundle run --bundle_root . --config_file configs/inference.json" in (
        (bundle / "docs" / "README.md").read_text()
    )
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "--bundle_root", "."]
    command += ["--config_file", "configs/inference.json", "--datalist", f"['{scan}']"]
    subprocess.run([*command, "--output_dir", str(tmp_path)], cwd=bundle, check=True, capture_output=True)
    assert main(["predict", str(find_weights(run)), str(scan), "-o", str(tmp_path / "ours"), "--quiet"]) == 0
    assert np.array_equal(values(tmp_path / "scan_seg.nii.gz"), values(tmp_path / "ours" / "scan.nii.gz"))


@pytest.mark.parametrize(
    "header",
    [
        dict(inference=dict(mode="whole", flips=[0, 1]), label_values=[0, 1, 300]),
        dict(inference=dict(mode="slide", roi_size=[16, 20, 24], stride=[12, 20, 20])),
        dict(
            model=dict(
                backbone="monai.SegResNet", decoder=None, decoder_options={}, backbone_options=dict(init_filters=8)
            )
        ),
    ],
    ids=("whole", "slide", "monai"),
)
def test_other_models_and_ways_to_predict_give_the_same_masks_too(monai, tmp_path, header):
    checkpoint = save_checkpoint(tmp_path / "w.safetensors", **header)
    folder = export_monai_bundle(checkpoint, tmp_path / "bundle", torchscript=False)
    scan = save_scan(tmp_path / "scan.nii.gz", axes="LPI")
    predict_in_monai(monai, folder, [str(scan)], tmp_path)
    volume = Predictor(checkpoint).label(scan)
    from densevit.volumes.volume import open_volume

    assert np.array_equal(values(tmp_path / "scan_seg.nii.gz"), open_volume(scan).on_own_axes(volume))


def test_channels_in_files_of_their_own_are_one_scan(monai, tmp_path):
    checkpoint = save_checkpoint(tmp_path / "w.safetensors", model=dict(in_channels=2))
    folder = export_monai_bundle(checkpoint, tmp_path / "bundle", torchscript=False)
    files = [str(save_scan(tmp_path / f"scan_{i}.nii.gz", seed=i)) for i in range(2)]
    predict_in_monai(monai, folder, [files], tmp_path)
    from densevit.volumes.volume import open_volume

    volume = open_volume(files)
    expected = volume.on_own_axes(Predictor(checkpoint).label(volume))
    assert np.array_equal(values(tmp_path / "scan_0_seg.nii.gz"), expected)


def test_monai_accepts_the_metadata(monai, bundle, tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(SCHEMA))
    monai.verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(schema))
    metadata = read(bundle, "metadata")
    assert metadata["network_data_format"]["outputs"]["pred"]["channel_def"] == {
        "0": "background",
        "1": "liver",
        "2": "tumour",
    }
    assert metadata["eval_metrics"] == {"mCaseDice": 61.5}
    assert metadata["pred_classes"] == "0: background, 2: liver, 7: tumour"
    del metadata["task"]
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="'task' is a required property"):
        monai.verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(schema))


def test_monai_finds_the_network_to_be_what_the_metadata_say(monai, bundle):
    files = {f"{kind}_file": str(bundle / "configs" / name) for kind, name in NETWORK_FILES}
    monai.verify_net_in_out("network_def", device="cpu", **files)
    with pytest.raises(ValueError, match="output channel number"):
        monai.verify_net_in_out(
            "network_def", device="cpu", **files, **{"_meta_#network_data_format#outputs#pred#num_channels": 4}
        )


NETWORK_FILES = (("meta", "metadata.json"), ("config", "inference.json"))


def test_monai_exports_the_checkpoint_and_ours_is_the_same(monai, bundle, run, tmp_path):
    files = {f"{kind}_file": str(bundle / "configs" / name) for kind, name in NETWORK_FILES}
    monai.ckpt_export(
        "network_def",
        filepath=str(tmp_path / "theirs.ts"),
        ckpt_file=str(bundle / "models" / "model.pt"),
        use_trace=True,
        **files,
    )
    from monai.data import load_net_with_metadata

    model = Predictor(find_weights(run)).model
    image = torch.randn(2, 1, 16, 16, 16)
    for path in (tmp_path / "theirs.ts", bundle / "models" / "model.ts"):
        network, metadata, extra = load_net_with_metadata(str(path), more_extra_files=["inference.json"])
        assert metadata["network_data_format"] == read(bundle, "metadata")["network_data_format"]
        assert json.loads(extra["inference.json"]) == read(bundle, "inference")
        with torch.no_grad():
            torch.testing.assert_close(network(image), model(image), rtol=0, atol=1e-4)


def test_it_is_read_as_monai_label_and_deploy_read_bundles(monai, bundle, run, tmp_path):
    """Parts by their names, the network from model.pt or model.ts, no files read or written by the transforms."""
    from monai.data import MetaTensor
    from monai.transforms import Compose, LoadImaged, SaveImaged

    scan = save_scan(tmp_path / "scan.nii.gz", axes="PIR")
    parser = monai.ConfigParser(read(bundle, "inference") | dict(bundle_root=str(bundle), device="cpu"))
    assert isinstance(read(bundle, "inference")["network_def"], dict)
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    before = parser.get_parsed_content("preprocessing").transforms
    assert isinstance(before[0], LoadImaged)
    assert "LoadImage" in type(before[0]).__name__
    image = nibabel.load(scan)
    loaded = MetaTensor(
        torch.from_numpy(np.asarray(image.dataobj, np.float32)),
        affine=torch.from_numpy(image.affine),
        meta=dict(original_channel_dim="no_channel"),
    )
    after = [t for t in parser.get_parsed_content("postprocessing").transforms if not isinstance(t, SaveImaged)]
    for model in (network, torch.jit.load(bundle / "models" / "model.ts")):
        sample = Compose(before[1:])(dict(image=loaded))
        with torch.no_grad():
            pred = parser.get_parsed_content("inferer")(sample["image"][None], model)
        result = Compose(after)(dict(sample, pred=pred[0]))["pred"]
        assert result.shape[1:] == image.shape
        predictor = Predictor(find_weights(run))
        from densevit.volumes.volume import open_volume

        expected = open_volume(scan).on_own_axes(predictor.label(scan))
        assert np.mean(result.as_tensor().numpy()[0] != expected) < (1e-3 if model is not network else 1e-9)


def test_evaluation_gives_the_mean_dice_on_the_scans_own_grids(monai, bundle, run, decathlon, tmp_path):
    config = str(bundle / "configs" / "evaluate.json")
    options = dict(bundle_root=str(bundle), dataset_dir=str(decathlon), output_dir=str(tmp_path))
    monai.run(config_file=config, **options)
    predictor, records = Predictor(find_weights(run)), []
    for i in (2, 3):
        prediction = predictor.label(decathlon / "imagesTr" / f"case_{i}.nii.gz")
        from densevit.volumes.volume import read_label_volume

        truth = read_label_volume(decathlon / "labelsTr" / f"case_{i}.nii.gz")[0]
        maps = (np.searchsorted(VALUES, x) for x in (prediction, truth))
        records += measure(*maps, ["background", "a", "b"], None, MeasureOptions(metrics=()), case=str(i))
    found = float((tmp_path / "metrics.csv").read_text().split(",")[1])
    assert found == pytest.approx(summarize(records).row("dice").mean, abs=1e-5)
    rows = (tmp_path / "val_mean_dice_raw.csv").read_text().splitlines()
    assert [row.split(",")[0].rsplit("/", 1)[-1] for row in rows[1:]] == ["case_2.nii.gz", "case_3.nii.gz"]


def test_one_bad_scan_and_one_of_a_single_slice_do_not_end_the_run(monai, bundle, run, tmp_path):
    from densevit.volumes.volume import open_volume

    scans = [save_scan(tmp_path / "in" / name / "ct.nii.gz", size=size) for name, size in SIZES.items()]
    scans[0].write_bytes(scans[0].read_bytes()[:-40])
    with pytest.raises(SystemExit) as ended:
        predict_in_monai(monai, bundle, [dict(image=str(scan)) for scan in scans], tmp_path / "out")
    assert ended.value.code == 1
    predictor = Predictor(find_weights(run))
    for name, scan in list(zip(SIZES, scans, strict=True))[1:]:
        mask = tmp_path / "out" / name / "ct_seg.nii.gz"
        assert nibabel.load(mask).shape == SIZES[name]
        volume = open_volume(scan)
        assert np.array_equal(values(mask), volume.on_own_axes(predictor.label(volume)))
    assert not (tmp_path / "out" / "a").exists()


def test_a_folder_that_lists_no_case_for_validation_is_evaluated_on_every_fifth(monai, bundle, decathlon, tmp_path):
    import shutil

    root = shutil.copytree(decathlon, tmp_path / "data")
    content = json.loads((root / "dataset.json").read_text())
    content["training"] += content.pop("validation")
    (root / "dataset.json").write_text(json.dumps(content))
    config = str(bundle / "configs" / "evaluate.json")
    monai.run(config_file=config, bundle_root=str(bundle), dataset_dir=str(root), output_dir=str(tmp_path / "out"))
    rows = (tmp_path / "out" / "val_mean_dice_raw.csv").read_text().splitlines()
    assert rows[0] == "filename,liver,tumour,mean"
    assert [row.split(",")[0].rsplit("/", 1)[-1] for row in rows[1:]] == ["case_0.nii.gz"]


def test_it_trains_in_monai_and_keeps_the_best_weights(monai, bundle, decathlon, tmp_path):
    import shutil

    folder = shutil.copytree(bundle, tmp_path / "b")
    options = dict(bundle_root=str(folder), dataset_dir=str(decathlon), epochs=2, val_interval=1, num_workers=0)
    monai.run(config_file=str(folder / "configs" / "train.json"), **options, learning_rate=1e-2)
    assert [path.name for path in (folder / "models").glob("*.pt")] == ["model.pt"]
    old, new = (torch.load(f / "models" / "model.pt", weights_only=True) for f in (bundle, folder))
    assert old.keys() == new.keys()
    assert not torch.equal(old["head.weight"], new["head.weight"])
    predict_in_monai(monai, folder, str(decathlon / "imagesTr"), tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_a_bundle_holds_one_pt_file_of_plain_weights_and_the_same_as_safetensors(bundle, run):
    assert [path.name for path in (bundle / "models").glob("*.pt")] == ["model.pt"]
    state = torch.load(bundle / "models" / "model.pt", weights_only=True)
    expected = Predictor(find_weights(run)).model.state_dict()
    ours = Predictor(bundle / "models").model.state_dict()
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor)
        assert torch.equal(ours[name], tensor)
    names = sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file())
    configs = [
        f"configs/{n}" for n in ("evaluate.json", "inference.json", "logging.conf", "metadata.json", "train.json")
    ]
    models = [f"models/{n}" for n in ("model.pt", "model.ts", "weights.safetensors")]
    assert names == ["LICENSE", *configs, "docs/README.md", *models]


def test_nothing_in_a_bundle_says_where_it_was_made(bundle, run):
    for path in bundle.rglob("*.*"):
        if path.is_file() and path.suffix not in (".pt", ".ts", ".safetensors"):
            assert str(run.parent) not in path.read_text()


def test_words_and_licences_are_those_that_were_given(run, tmp_path):
    about = About(
        name="livers", description="Finds livers.", authors="A. Author", copyright="(c) A", license="Take it.\n",
        data_license="CC BY-SA 4.0\n",
    )  # fmt: skip
    folder = export_monai_bundle(run, tmp_path / "b", about=about, torchscript=False)
    metadata, readme = read(folder, "metadata"), (folder / "docs" / "README.md").read_text()
    assert (folder / "LICENSE").read_text() == "Take it.\n"
    assert (folder / "docs" / "data_license.txt").read_text() == "CC BY-SA 4.0\n"
    assert [metadata[key] for key in ("name", "description", "authors", "copyright")] == [
        "livers",
        "Finds livers.",
        "A. Author",
        "(c) A",
    ]
    assert readme.startswith("# livers\n\nFinds livers.\n")
    assert "| 7 | 2 | tumour |" in readme
    assert "mCaseDice 61.50" in readme
    assert "no models/model.ts, because it was not asked for" in readme


def test_without_a_licence_the_file_says_that_it_is_missing(bundle):
    assert "has not been stated" in (bundle / "LICENSE").read_text()
    assert not (bundle / "docs" / "data_license.txt").exists()


def test_a_model_that_cannot_be_traced_is_exported_without_and_the_readme_says_why(run, tmp_path, monkeypatch, caplog):
    def refuse(*_args, **_options):
        raise TraceError("it loops")

    monkeypatch.setattr(monai_bundle, "trace", refuse)
    folder = export_monai_bundle(run, tmp_path / "b")
    assert not (folder / "models" / "model.ts").exists()
    assert "no models/model.ts, because it loops" in (folder / "docs" / "README.md").read_text()
    assert "no model.ts: it loops" in caplog.text


def test_a_folder_with_files_is_left_alone_and_a_failure_leaves_nothing(run, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match=r"full exists already; give another folder, or remove it first"):
        export_monai_bundle(run, tmp_path / "full")

    def fail(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        export_monai_bundle(run, tmp_path / "new")
    assert caught.value.filename == str(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_model_of_pictures_is_no_bundle(tmp_path):
    from densevit import create_segmentor
    from densevit.weights import save_weights

    model = dict(backbone="mit_b0", decoder="all_mlp", num_classes=2)
    save_weights(create_segmentor(**model), tmp_path / "w.safetensors", config=dict(model=model))
    with pytest.raises(ValueError, match="describes no 3D model"):
        export_monai_bundle(tmp_path / "w.safetensors", tmp_path / "b")


def test_the_command_writes_a_bundle_and_reminds_of_the_licence(run, tmp_path, capsys):
    text = tmp_path / "licence.txt"
    text.write_text("Take it.\n")
    asked = ["export", "monai-bundle", str(run), "--no-torchscript", "-o"]
    assert main([*asked, str(tmp_path / "a"), "--license", str(text), "--name", "livers"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'a'}\n"
    assert said.err == ""
    assert read(tmp_path / "a", "metadata")["name"] == "livers"
    assert main([*asked, str(tmp_path / "b")]) == 0
    assert "the licence of the weights is not stated" in capsys.readouterr().err
    assert main([*asked, str(tmp_path / "b")]) == 2
    assert "exists already" in capsys.readouterr().err


def test_names_of_classes_run_nothing_in_monai_and_stay_what_they_are(monai, tmp_path):
    mark = tmp_path / "mark"
    names = [f"$__import__('pathlib').Path({str(mark)!r}).touch()", "@network", "%inference.json#run"]
    checkpoint = save_checkpoint(tmp_path / "w.safetensors", classes=names)
    folder = export_monai_bundle(checkpoint, tmp_path / "b", torchscript=False, about=About(description="$x"))
    for name in ("inference", "evaluate", "train"):
        parser = monai.ConfigParser()
        parser.read_meta(str(folder / "configs" / "metadata.json"))
        parser.read_config(str(folder / "configs" / f"{name}.json"))
        metadata = parser.get_parsed_content("_meta_")
        assert list(metadata["network_data_format"]["outputs"]["pred"]["channel_def"].values()) == names
        assert metadata["description"] == "$x"
        for part in {
            "train": ("train#preprocessing", "validate#preprocessing"),
            "evaluate": ("validate#preprocessing",),
        }.get(name, ()):
            found = [
                t
                for t in parser.get_parsed_content(part).transforms
                if hasattr(t, "label_values") or hasattr(t, "classes")
            ]
            assert [list(transform.classes) for transform in found] == [names]
    assert not mark.exists()


PART = """
from functools import partial

from densevit.backbones.pvt_v2 import pvt_v2
from densevit.registry import BACKBONES

small = dict(dims=(8, 16, 40, 64), depths=(1, 1, 1, 1))
BACKBONES.register({"tests_own_mit": small})(partial(pvt_v2, ffn_ratios=(4, 4, 4, 4)))
"""


@pytest.fixture
def own_backbone():
    """The name that the module registers, which is forgotten afterwards."""
    yield "tests_own_mit"
    for known in (BACKBONES._builders, BACKBONES._families):
        known.pop("tests_own_mit", None)
    sys.modules.pop("tests_own_parts", None)


def test_a_bundle_of_a_model_of_ones_own_runs_where_its_module_is_not_installed(
    monai, own_backbone, tmp_path, monkeypatch
):
    (tmp_path / "tests_own_parts.py").write_text(PART)
    monkeypatch.chdir(tmp_path)
    import_modules(["tests_own_parts"], folders=[tmp_path])
    checkpoint = save_checkpoint(tmp_path / "w.safetensors", model=dict(backbone=own_backbone))
    folder, scan = tmp_path / "elsewhere" / "bundle", save_scan(tmp_path / "scan.nii.gz")
    folder.parent.mkdir()
    own = ["--custom-imports", "tests_own_parts"]
    assert main(["export", "monai-bundle", str(checkpoint), "-o", str(folder), "--no-torchscript", *own]) == 0
    (tmp_path / "tests_own_parts.py").unlink()
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", "--bundle_root", str(folder)]
    command += ["--config_file", str(folder / "configs" / "inference.json"), "--datalist", f"['{scan}']"]
    command += ["--output_dir", str(tmp_path / "out")]
    ran = subprocess.run(command, cwd=folder.parent, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    check_mask(tmp_path / "out" / "scan_seg.nii.gz", scan, Predictor(checkpoint))

    (folder / "scripts" / "tests_own_parts.py").unlink()
    ended = subprocess.run(command, cwd=folder.parent, check=False, capture_output=True, text=True)
    assert ended.returncode != 0
    assert "cannot import 'tests_own_parts'" in ended.stderr


def test_a_bundle_imports_the_modules_that_register_its_parts(run, tmp_path):
    folder = export_monai_bundle(run, tmp_path / "b", torchscript=False, imports=["my_parts", "ours.backbones"])
    for name in ("inference", "evaluate", "train"):
        assert read(folder, name)["network_def"]["_requires_"]["names"] == ["my_parts", "ours.backbones"]
    assert "my_parts, ours.backbones" in (folder / "docs" / "README.md").read_text()
    assert not (folder / "scripts").exists()
    with pytest.raises(ValueError, match="imports are names of modules such as my_parts"):
        export_monai_bundle(run, tmp_path / "c", imports=["os; print()"])
