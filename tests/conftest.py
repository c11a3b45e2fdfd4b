"""Fixtures that several rooms' tests share."""

import os
import shutil
import sys
import urllib.request
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import torch
from PIL import Image

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets, which is not part of the project."""
    folder = Path(os.environ.get("DENSEVIT_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set DENSEVIT_SHARED_DATA to the folder that holds camvid11")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """What is remembered about labels stays inside the test, in a folder that most tests never make."""
    folder = tmp_path_factory.getbasetemp() / "caches" / uuid4().hex
    monkeypatch.setenv("DENSEVIT_CACHE", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def forget_compiled_graphs():
    """A test that compiles starts afresh: code seen at other sizes before is traced with symbols for them, slowly."""
    yield
    if "torch._dynamo" in sys.modules:
        sys.modules["torch"].compiler.reset()


@pytest.fixture
def save():
    """Write an array as a picture, making its folders."""

    def write(path, pixels, **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(pixels)).save(path, **options)
        return path

    return write


@pytest.fixture
def photo():
    """A picture without symmetry: (12, 20, 3)."""
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


@pytest.fixture
def folder_set(tmp_path, save):
    """Write images/<split>, labels/<split> and classes.txt; `labels` gives the (8, 10) label of each image."""

    def write(labels, *, split="train", classes=("road", "car", "tree"), root=tmp_path / "set"):
        rng = np.random.default_rng(0)
        for index, label in enumerate(labels):
            save(root / "images" / split / f"{index:02}.png", rng.integers(0, 256, (8, 10, 3), dtype=np.uint8))
            if label is not None:
                save(root / "labels" / split / f"{index:02}.png", np.asarray(label, np.uint8))
        root.mkdir(exist_ok=True)
        (root / "classes.txt").write_text("\n".join(classes) + "\n")
        return root

    return write


@pytest.fixture
def cityscapes_set(tmp_path, save):
    """Write the official layout with one image a name; `labels` maps the ending of the label file to its pixels."""

    def write(labels, *, split="train", names=("aachen_000000_000019",), root=tmp_path / "cityscapes"):
        for name in names:
            city = name.split("_")[0]
            save(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", np.zeros((8, 10, 3), np.uint8))
            for ending, label in labels.items():
                save(root / "gtFine" / split / city / f"{name}_gtFine_{ending}.png", np.asarray(label, np.uint8))
        return root

    return write


@pytest.fixture
def two_threads():
    """Of torch, also where the tests themselves run on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A local hub, of which the clients of the Hugging Face hub and of torch think as of the true one."""
    from huggingface_hub import close_session, constants

    from tests.local_hub import AddressesAtHub, local_hub

    with local_hub() as served:
        template = f"{served.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", served.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        before = torch.hub.get_dir()
        torch.hub.set_dir(str(tmp_path / "torch"))
        urllib.request.install_opener(urllib.request.build_opener(AddressesAtHub(served)))
        yield served
        close_session()  # whose connections go to this server
        urllib.request.install_opener(None)
        torch.hub.set_dir(before)
