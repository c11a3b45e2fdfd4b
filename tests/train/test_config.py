import json
import re

import pytest

from densevit.train import check_config, load_config, parse_overrides
from densevit.train.config import dump_config


def write(folder, name, config):
    path = folder / name
    path.write_text("\n".join(f"{key} = {value!r}" for key, value in config.items()) + "\n")
    return path


@pytest.fixture
def path(tmp_path, config):
    return write(tmp_path, "small.py", config)


def test_a_checked_config_has_all_defaults_and_the_name_of_its_file(path):
    config = load_config(path)
    assert config.name == "small"
    assert config.train_cfg.max_keep == 2
    assert config.inference.mode == "whole"
    assert config.optimizer.betas is None


def test_a_child_changes_single_keys_of_its_parent(tmp_path, path):
    child = tmp_path / "child.py"
    child.write_text('"""Why."""\n_base_ = "small.py"\ntrain_cfg = dict(max_iters=9)\n')
    config = load_config(child)
    assert (config.train_cfg.max_iters, config.train_cfg.val_interval) == (9, 6)


def test_delete_drops_what_the_parent_said(tmp_path, path):
    child = tmp_path / "child.py"
    child.write_text('_base_ = "small.py"\ntrain_cfg = dict(_delete_=True, max_iters=9)\n')
    assert load_config(child).train_cfg.val_interval == 1000


@pytest.mark.parametrize("base", ['["small.py", "other.py"]', '"data.yaml"', '"mmseg::small.py"', "name"])
def test_anything_but_one_python_parent_is_refused(tmp_path, path, base):
    (tmp_path / "data.yaml").write_text("a: 1\n")
    child = tmp_path / "child.py"
    child.write_text(f"name = 'small.py'\n_base_ = {base}\n")
    with pytest.raises(ValueError, match="_base_ must be"):
        load_config(child)


def test_a_circle_of_parents_is_refused(tmp_path):
    path = tmp_path / "circle.py"
    path.write_text('_base_ = "circle.py"\n')
    with pytest.raises(ValueError, match="comes back"):
        load_config(path)


def test_a_json_config_is_read_as_data(tmp_path, config):
    path = tmp_path / "small.json"
    path.write_text(json.dumps(config))
    assert load_config(path).train_data.augment.crop_size == (32, 32)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("evil.yaml", "model: !!python/object/apply:os.system ['touch {witness}']\n"),
        ("evil.yml", "model: !!python/object/new:os.system ['touch {witness}']\n"),
        ("evil.json", '{{"custom_imports": {{"imports": ["evil_module"]}}}}'),
        ("evil.yaml", "_base_: evil_module.py\n"),
    ],
)
def test_yaml_and_json_run_no_code(tmp_path, monkeypatch, name, text):
    witness = tmp_path / "witness"
    (tmp_path / "evil_module.py").write_text(f"open({str(witness)!r}, 'w')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / name
    path.write_text(text.format(witness=witness))
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load_config(path)
    assert not witness.exists()


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("train_cfg.max_iter=3", "unknown key 'train_cfg.max_iter'; did you mean max_iters"),
        ("modle.x=3", "unknown key 'modle'; did you mean model"),
        ("train_cfg.max_iters=many", "train_cfg.max_iters must be a whole number, got 'many'"),
        ("train_cfg.max_iters=2.5", "train_cfg.max_iters must be a whole number, got 2.5"),
        ("train_cfg.checkpointing=1", "train_cfg.checkpointing must be True or False, got 1"),
        ("train_cfg.amp=bf61", "train_cfg.amp must be 'bf16' or 'fp16' or None, got 'bf61'"),
        ("train_cfg.max_iters=0", "train_cfg.max_iters must be at least 1"),
        ("train_cfg.ema=1", "train_cfg.ema must lie between 0 and 1"),
        ("train_data.augment.crop_size=(1,2,3)", "train_data.augment.crop_size must be 2 whole numbers"),
        ("model.backbone=mit_b7", "model: unknown backbone 'mit_b7'; did you mean mit_b"),
        ("model.decoder=all_mpl", "model: unknown decoder 'all_mpl'; did you mean all_mlp"),
        (
            "model.backbone_options.droppath=0.1",
            "model: unknown key 'backbone_options.droppath'; did you mean drop_path",
        ),
        ("model.decoder_options.dims=3", "model: unknown key 'decoder_options.dims'; did you mean dim"),
        ("loss.0.type=crossentropy", "no loss of type 'crossentropy'; did you mean cross_entropy"),
        ("loss.0.wieght=1", "no option 'wieght'; did you mean weight"),
        ("optimizer.type=AdamV", "optimizer: unknown type 'AdamV'; did you mean Adam"),
        ("optimizer.momentum=0.9", "optimizer AdamW has no option 'momentum'"),
        ("schedule.type=polly", "schedule: unknown type 'polly'; did you mean poly"),
        ("train_data.dataset.type=foldr", "no dataset named 'foldr'; did you mean folder"),
        ("val_data.dataset.rot=x", "has no key 'rot'; did you mean root"),
        ("inference.mode=slide", "inference.mode 'slide' needs the size of its windows; give roi_size"),
        ("loss.3.weight=2", "cannot apply the option loss.3.weight=2"),
        ("model.decoder_options={}", r"model.decoder_options=\{\} changes nothing, .*\{'_delete_': True\}"),
    ],
)
def test_a_mistake_is_one_sentence_with_the_file_and_the_nearest_name(path, option, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        load_config(path, parse_overrides([option]))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_key_says_what_belongs_there(config):
    del config["train_cfg"]["max_iters"]
    with pytest.raises(ValueError, match=r"the key 'train_cfg.max_iters' is missing: it must be a whole number"):
        check_config(config)


@pytest.mark.parametrize("text", ["model = dict(", "model = undefined_name"])
def test_a_broken_config_file_is_one_sentence(tmp_path, text):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"broken.py"):
        load_config(path)


def test_a_missing_config_file_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere.py not found"):
        load_config(tmp_path / "nowhere.py")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4),
        ("6e-5", 6e-5),
        ("True", True),
        ("false", False),
        ("None", None),
        ("(512, 1024)", (512, 1024)),
        ("[a,b]", ["a", "b"]),
        ("[(1,2),x]", [(1, 2), "x"]),
        ("1,2", (1, 2)),
        ("a,b", ["a", "b"]),
        ("'4'", "4"),
        ("data/city scapes", "data/city scapes"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_options_are_read_as_typed_values(text, value):
    assert parse_overrides([f"a.b={text}"]) == {"a.b": value}


def test_an_option_without_a_value_is_one_sentence():
    with pytest.raises(ValueError, match="key=value pairs"):
        parse_overrides(["train_cfg.max_iters"])


def test_a_dumped_config_reads_back_the_same(tmp_path, path):
    config = load_config(path, {"inference.mode": "slide", "inference.roi_size": (32, 32)})
    dump_config(config, tmp_path / "dumped.py")
    assert load_config(tmp_path / "dumped.py").to_dict() == config.to_dict()


def test_a_dict_is_emptied_by_delete(path):
    config = load_config(path, parse_overrides(["model.decoder_options={'_delete_': True}"]))
    assert config.model.decoder_options == {}


@pytest.mark.parametrize(
    ("section", "options", "named"),
    [
        ("model", dict(backbone_options=dict(frozen=True)), r"model\.backbone_options\.frozen"),
        ("model", dict(decoder_options=dict(dim=True)), r"model\.decoder_options\.dim"),
        ("loss", [dict(type="cross_entropy", label_smoothing=True)], r"label_smoothing"),
        ("loss", [dict(type="cross_entropy", weight=True)], r"weight"),
    ],
)
def test_a_bool_in_place_of_a_number_is_refused_when_the_config_is_read(config, section, options, named):
    changed = {**config[section], **options} if isinstance(options, dict) else options
    with pytest.raises(ValueError, match=f"{named} must be numbers, got True"):
        check_config({**config, section: changed})


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (dict(weights=dict(path="a.pth", strict=1)), "model.weights.strict must be True or False, got 1"),
        (dict(weights=dict(path=True)), "model.weights.path must be text or None, got True"),
        (dict(weights=True), "model.weights must be text or a dict or None, got True"),
        (
            dict(backbone_options=dict(weights=dict(path="a.pth", inflate=True))),
            "model.backbone_options.weights.inflate must be text or None, got True",
        ),
    ],
)
def test_keywords_of_weights_have_their_types_when_the_config_is_read(config, section, said):
    with pytest.raises(ValueError, match=said):
        check_config({**config, "model": {**config["model"], **section}})


def test_lists_in_one_another_without_end_are_one_sentence(config):
    config["train_data"]["dataset"]["root"] = endless = []
    endless.append(endless)
    with pytest.raises(ValueError, match=r"^the config: train_data holds lists or dicts too deep in one another$"):
        check_config(config)


def test_none_is_a_word_where_a_key_of_a_data_set_takes_it():
    read = parse_overrides(
        ["train_data.dataset.ignore_index=none", "test_data.dataset.labels=none", "train_cfg.amp=none"]
    )
    assert list(read.values()) == ["none", "none", None]


def test_class_weights_of_another_number_of_classes_are_refused_when_the_config_is_read(config):
    loss = [dict(type="cross_entropy", class_weights=[1.0, 2.0])]
    for given in (dict(loss=loss), dict(auxiliary=[dict(level=0, loss=loss)])):
        with pytest.raises(ValueError, match="has 2 class_weights and the model 3 classes; give one for each class"):
            check_config({**config, **given})
