"""The `densevit` command: its verbs, its exit codes, and one sentence for every mistake."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

import densevit
from densevit.cli import main
from densevit.cli.main import explain

REPOSITORY = Path(__file__).parents[2]


def run_python(*arguments, cwd=REPOSITORY):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env=environment)


def test_help_imports_neither_torch_nor_numpy_nor_mmengine():
    code = """
import sys
from densevit.cli import main
verbs = ("train", "test", "predict", "evaluate", "models")
for arguments in (["--help"], *([verb, "--help"] for verb in verbs)):
    try:
        main(arguments)
    except SystemExit as done:
        assert done.code == 0
heavy = {"torch", "numpy", "PIL", "mmengine", "rich", "safetensors"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    done = run_python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")


def test_python_m_densevit_is_the_command():
    done = run_python("-m", "densevit", "--help")
    assert done.returncode == 0
    assert all(f"\n    {verb} " in done.stdout for verb in ("train", "test", "predict", "models"))
    assert run_python("-m", "densevit", "--version").stdout == f"densevit {densevit.__version__}\n"


@pytest.mark.parametrize("verb", ["train", "test", "predict", "evaluate"])
def test_a_tool_is_the_verb_of_its_name(verb, tmp_path):
    done = run_python(str(REPOSITORY / "tools" / f"{verb}.py"), "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: densevit {verb}")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("predict {checkpoint} {tmp}/none.png -o {tmp}/out", "no such file or folder"),
        ("predict {checkpoint} {tmp}/empty -o {tmp}/out", "holds no image"),
        ("predict {checkpoint} {tmp}/*.bmp -o {tmp}/out", "no input matches"),
        ("predict {tmp}/none.safetensors {photos} -o {tmp}/out", "no checkpoint at"),
        ("predict {tmp}/text.pth {photos} -o {tmp}/out", "is damaged or not a safetensors file"),
        ("predict {checkpoint} {photos} -o {tmp}/text.pth", "is a file; give a folder"),
        ("predict {checkpoint} {photos} -o {tmp}/text.pth/out", "cannot write to the output folder"),
        ("predict {checkpoint} {photos} -o {tmp}/out --format colours", "no output format named 'colours'"),
        ("predict {checkpoint} {photos} -o {tmp}/out --format label_ids", "label_ids are Cityscapes' own"),
        ("predict {checkpoint} {photos} -o {tmp}/out --device cuda:99", "not on this machine"),
        ("predict {checkpoint} {photos} -o {tmp}/out --mode slide", "needs the size of its windows"),
        ("predict {checkpoint} {photos} -o {tmp}/out --roi-size 1 2 3", "expected one number or height and width"),
        ("predict {checkpoint} {photos} -o {tmp}/out --roi-size 32", "--roi-size belongs to modes 'slide', 'slide_g"),
        ("test {config} {checkpoint} --device cpu --stride 32", "stride belongs to modes 'slide', 'slide_g"),
        ("test {config} {checkpoint} --device cpu --json {tmp}/text.pth/scores.json", "is a file; give a folder"),
        ("models --filter alexnet", "no backbone, decoder or whole model matches 'alexnet'"),
        ("train {tmp}/none.py", "not found"),
        ("train {config} --cfg-options model.backbone=mit_b9", "did you mean"),
        ("train {config} --cfg-options max_iters", "key=value"),
        ("test {config} {tmp}/none.safetensors --device cpu", "no checkpoint at"),
        ("test {config} {checkpoint} --device cpu --out {tmp}/text.pth", "is a file; give a folder"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, sentence, checkpoint, photos, config, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.pth").write_text("no weights")
    names = dict(checkpoint=checkpoint, photos=photos, config=config, tmp=tmp_path)
    assert main([part.format(**names) for part in arguments.split()]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.startswith("densevit: ")
    assert told.count("\n") == 1


def test_traceback_shows_where_an_error_came_from(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        main(["predict", str(tmp_path), str(tmp_path / "none"), "-o", str(tmp_path), "--traceback"])
    monkeypatch.setenv("DENSEVIT_TRACEBACK", "1")
    with pytest.raises(FileNotFoundError):
        main(["predict", str(tmp_path), str(tmp_path / "none"), "-o", str(tmp_path)])


def test_a_fault_of_the_program_is_not_hidden(monkeypatch):
    def broken(*_arguments, **_options):
        return {}["key"]

    monkeypatch.setattr("densevit.cli.models.describe", broken)
    with pytest.raises(KeyError, match="key"):
        main(["models"])


@pytest.mark.parametrize(
    ("package", "extra"),
    [
        ("monai.data", "medical"),
        ("highdicom", "medical"),
        ("zarr", "bigdata"),
        ("dynamic_network_architectures", "dna"),
        ("segmentation_models_pytorch", "smp"),
        ("transformers", "transformers"),
        ("mmengine", "train"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(package, extra):
    said = explain(ModuleNotFoundError("gone", name=package))
    assert said == f"{package.partition('.')[0]} is not installed; pip install 'densevit[{extra}]' brings it"


class Broken:
    """A data set whose file cannot be read."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise ValueError("scan.nii.gz is damaged: get the file again")


def test_an_error_in_a_loaders_worker_is_the_sentence_alone():
    with pytest.raises(ValueError, match="Traceback") as caught:
        next(iter(DataLoader(Broken(), num_workers=1)))
    assert explain(caught.value) == "scan.nii.gz is damaged: get the file again"
