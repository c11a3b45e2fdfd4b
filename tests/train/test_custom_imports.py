"""`custom_imports`: modules that a config has imported before its names are checked."""

import json
import sys

import pytest

from densevit.registry import DECODERS, check_known
from densevit.train import load_config
from densevit.train.config.config import check_config

MODULE = """
import densevit
from densevit.decoders.all_mlp import AllMLPDecoder

densevit.register_decoder({"decoder_of_mine": {}})(AllMLPDecoder)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module of the user's own, which registers a decoder."""
    (tmp_path / "my_parts.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_parts"
    sys.modules.pop("my_parts", None)
    DECODERS._builders.pop("decoder_of_mine", None)


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
