"""`custom_imports`: modules that a config has imported before its names are checked."""

import json
import sys

import pytest
from mmengine.registry import HOOKS

from densevit.cli.main import main
from densevit.data.dataset import DATASETS
from densevit.imports import import_modules
from densevit.losses import LOSSES
from densevit.registry import DECODERS, check_known
from densevit.train import load_config
from densevit.train.config import check_config

MODULE = """
import densevit
from densevit.data.dataset import DATASETS
from densevit.decoders.all_mlp import AllMLPDecoder
from densevit.losses import LOSSES
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
import beside

densevit.register_decoder({"decoder_of_mine": {}})(AllMLPDecoder)
DATASETS.register({"data_of_mine": {}})(DATASETS.family("folder"))
LOSSES["loss_of_mine"] = LOSSES["cross_entropy"]

@HOOKS.register_module()
class HookOfMine(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        beside.CALLS.append(batch_idx)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module of the user's own, which registers a decoder."""
    write_module(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_parts"
    forget()


def write_module(folder):
    """A module of the user's own, which imports another one beside it."""
    (folder / "my_parts.py").write_text(MODULE)
    (folder / "beside.py").write_text("CALLS = []")


def forget():
    for name in ("my_parts", "beside"):
        sys.modules.pop(name, None)
    HOOKS.module_dict.pop("HookOfMine", None)
    LOSSES.pop("loss_of_mine", None)
    for registry, name in ((DECODERS, "decoder_of_mine"), (DATASETS, "data_of_mine")):
        registry._builders.pop(name, None)


@pytest.fixture
def own_config(config, tmp_path):
    """A config file of a model, a loss, a hook and data of the user's own, whose module lies beside it."""
    write_module(tmp_path)
    config["model"]["decoder"] = "decoder_of_mine"
    config["loss"] = dict(type="loss_of_mine")
    config["train_data"]["dataset"]["type"] = config["val_data"]["dataset"]["type"] = "data_of_mine"
    config |= dict(custom_hooks=[dict(type="HookOfMine")], custom_imports=("my_parts",))
    config["train_cfg"]["max_iters"] = 2
    path = tmp_path / "mine.py"
    path.write_text("".join(f"{key} = {value!r}\n" for key, value in config.items()))
    yield path
    forget()


def test_every_command_takes_parts_of_ones_own_from_the_folder_of_the_config(own_config, tmp_path, capsys):
    run, image = (
        tmp_path / "run",
        json.loads(own_config.read_text().split("'root': ")[1].split(",")[0].replace("'", '"')),
    )
    before = list(sys.path)
    assert main(["train", str(own_config), "--work-dir", str(run)]) == 0
    assert len(sys.modules["beside"].CALLS) == 2
    assert sys.path == before
    forget()
    assert main(["test", str(own_config), str(run)]) == 0
    forget()
    assert main(["train", str(run / "config.py"), "--work-dir", str(run), "--resume"]) == 0  # it lies elsewhere
    forget()
    predict = ["predict", str(run), f"{image}/images/val/00.png", "-o", str(tmp_path / "out"), "--quiet"]
    assert main(predict) == 2
    assert (
        "was trained with custom_imports ['my_parts']: import these first, or give the command"
        in capsys.readouterr().err
    )
    assert "my_parts" not in sys.modules  # a checkpoint says what to import and imports nothing
    assert main([*predict, "--custom-imports", str(tmp_path / "my_parts.py")]) == 0
    forget()
    assert main(["models", "--filter", "of_mine", "--custom-imports", str(tmp_path / "my_parts.py")]) == 0
    assert "decoder_of_mine" in capsys.readouterr().out


def test_a_module_that_needs_what_a_later_one_brings_is_tried_again(tmp_path):
    (tmp_path / "needs_it.py").write_text("import sys\nif 'brings_it' not in sys.modules: raise ImportError('not yet')")
    (tmp_path / "brings_it.py").touch()
    for order in (["needs_it", "brings_it"], ["brings_it", "needs_it"]):
        assert import_modules(order, folders=[tmp_path]) == tuple(str(tmp_path / f"{name}.py") for name in order)
        for name in order:
            del sys.modules[name]


def test_a_module_that_fails_is_one_sentence(tmp_path):
    (tmp_path / "broken_part.py").write_text("1 / 0")
    with pytest.raises(ValueError, match=r"cannot import 'broken_part' \(ZeroDivisionError: division by zero\)$"):
        import_modules(["broken_part"], folders=[tmp_path])
    with pytest.raises(ValueError, match="is no name of a module"):
        import_modules(["x; y"])
    with pytest.raises(ValueError, match=r"'no\.py' does not exist"):
        import_modules(["no.py"])


def test_a_module_of_the_name_of_another_is_refused(tmp_path):
    (tmp_path / "json.py").touch()
    with pytest.raises(ValueError, match=r"'json' in .* has the name of another .*json/__init__\.py; rename it"):
        import_modules(["json"], folders=[tmp_path])


def test_a_config_may_name_what_its_imports_register(config, module):
    config["model"]["decoder"] = "decoder_of_mine"
    with pytest.raises(ValueError, match="model: unknown decoder 'decoder_of_mine'"):
        check_config(config)
    assert check_config(config | dict(custom_imports=[module])).custom_imports == (module,)


def test_a_module_that_is_not_there_is_one_sentence(config):
    with pytest.raises(ValueError, match=r"custom_imports: cannot import 'no_such_module'.*is it installed"):
        check_config(config | dict(custom_imports=["no_such_module"]))


def test_a_config_of_data_imports_nothing(config, module, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config | dict(custom_imports=[module])))
    with pytest.raises(ValueError, match=r"config\.json: custom_imports runs code"):
        load_config(path)
    assert module not in sys.modules


def test_names_of_mmsegmentation_say_what_to_import():
    with pytest.raises(ValueError, match=r"'mmseg.UPerHead'; .*custom_imports = \['densevit.integrations.mmseg'\]"):
        check_known("mmseg.UPerHead", ["all_mlp", "uper"], what="no head named")
    with pytest.raises(ValueError, match=r"no head named 'mmseg.UperHead'; did you mean mmseg.UPerHead\?"):
        check_known("mmseg.UperHead", ["all_mlp", "mmseg.UPerHead"], what="no head named")
