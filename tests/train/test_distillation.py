"""Distillation: losses as they were published, teachers of every kind, of classes and of pixels."""

import math
from dataclasses import replace

import pytest
import torch

import densevit
from densevit.checkpoint import Header, open_checkpoint, write_checkpoint
from densevit.decoders import DenseMap
from densevit.environment import ignore_warnings
from densevit.train import check_config, train
from densevit.train.distillation.classes import distillation_loss
from densevit.train.distillation.dense import channel_loss, logit_loss, mean_log_probability, shallow_losses
from densevit.train.distillation.options import ClassDistillationOptions, DenseDistillationOptions, ShallowOptions
from densevit.train.distillation.teachers import Teachers
from densevit.train.tasks.classify import ClassifyModel
from densevit.train.tasks.segment import make_header, open_stream
from tests.train.hooks import cut_at
from tests.train.test_classify import config as class_config
from tests.train.test_classify import pictures as pictures  # a fixture
from tests.train.test_training import assert_same, final_state, scalars

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def teacher(scenes, tmp_path_factory):
    """The folder of a run of another backbone, of one iteration."""
    from tests.train.conftest import small_config

    given = small_config(scenes) | dict(val_data=None)
    given["model"].update(backbone="pvt_v2_b0")
    given["train_cfg"].update(max_iters=1)
    return train(given, work_dir=tmp_path_factory.mktemp("teacher"), device="cpu", progress=False).work_dir


def softmax(values, temperature):
    raised = [math.exp(value / temperature) for value in values]
    return [value / sum(raised) for value in raised]


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_pixels_learn_the_mean_of_the_teachers_probabilities(temperature):
    student, *teachers = torch.randn(3, 2, 4, 3, 5, dtype=torch.float64)
    valid = torch.rand(2, 3, 5) < 0.6
    total = 0.0
    for b, y, x in valid.nonzero().tolist():
        found = softmax(student[b, :, y, x].tolist(), temperature)
        each = [softmax(one[b, :, y, x].tolist(), temperature) for one in teachers]
        mean = [sum(p) / len(p) for p in zip(*each, strict=True)]
        total += temperature**2 * sum(p * math.log(p / q) for p, q in zip(mean, found, strict=True))
    taught = mean_log_probability(teachers, temperature=temperature)
    loss = logit_loss(student, taught, temperature=temperature, valid=valid)
    assert float(loss) == pytest.approx(total / int(valid.sum()), rel=1e-10)
    everywhere = logit_loss(student, taught, temperature=temperature, valid=torch.ones_like(valid))
    assert float(logit_loss(student, taught, temperature=temperature)) == pytest.approx(float(everywhere), rel=1e-10)
    assert float(logit_loss(student, taught, temperature=temperature, valid=torch.zeros_like(valid))) == 0


@pytest.mark.parametrize("masked", [False, True])
def test_channels_learn_where_the_teachers_are_high(masked):
    student, teacher = torch.randn(2, 2, 3, 2, 4, dtype=torch.float64)
    valid = torch.rand(2, 2, 4) < 0.7 if masked else None
    total = 0.0
    for b in range(2):
        places = range(8) if valid is None else valid[b].flatten().nonzero().flatten().tolist()
        for c in range(3):
            found, taught = (softmax(x[b, c].flatten()[places].tolist(), 4.0) for x in (student, teacher))
            total += 16 * sum(p * math.log(p / q) for p, q in zip(taught, found, strict=True))
    assert float(channel_loss(student, teacher, temperature=4.0, valid=valid)) == pytest.approx(total / 6, rel=1e-10)


@pytest.mark.parametrize("type", ["hard", "soft"])
def test_classes_are_distilled_as_deit_does_it(type):
    student, teacher = torch.randn(2, 5, 7, dtype=torch.float64)
    options = ClassDistillationOptions(teachers=("run",), type=type, temperature=3.0)
    total = 0.0
    for mine, theirs in zip(student.tolist(), teacher.tolist(), strict=True):
        if type == "hard":
            total += -math.log(softmax(mine, 1.0)[theirs.index(max(theirs))]) / 5
        else:
            pairs = zip(softmax(theirs, 3.0), softmax(mine, 3.0), strict=True)
            total += 9.0 * sum(p * math.log(p / q) for p, q in pairs) / (5 * 7)
    taught = mean_log_probability([teacher], temperature=3.0)
    assert float(distillation_loss(student, taught, options)) == pytest.approx(total, rel=1e-10)


def test_a_distilled_head_learns_labels_by_its_first_token_and_the_teacher_by_its_second():
    torch.manual_seed(0)
    classifier = densevit.create_classifier("deit_tiny_distilled", num_classes=4, dim=12, depth=2, num_heads=2)
    options = ClassDistillationOptions(teachers=("run",), alpha=0.3)
    model = ClassifyModel(classifier.eval(), "cross_entropy", options)
    image, shares = torch.randn(2, 3, 32, 32), torch.eye(4)[[1, 3]]
    taught = torch.randn(2, 4).log_softmax(1)
    first, second = classifier.class_head.pair(classifier.forward_features(image))
    wanted = 0.7 * torch.nn.functional.cross_entropy(first, torch.tensor([1, 3]))
    losses = model(image, shares, taught)
    torch.testing.assert_close(losses["loss_cross_entropy"], wanted)
    torch.testing.assert_close(losses["loss_distil"], 0.3 * distillation_loss(second, taught, options))


def test_shallow_outputs_learn_from_the_main_one_and_never_it_from_them():
    main, other = (torch.randn(1, 3, 4, 4, requires_grad=True) for _ in range(2))
    label = torch.zeros(1, 8, 8, dtype=torch.long)
    losses = shallow_losses({"main": DenseMap(main), "level_1": DenseMap(other)}, label, ShallowOptions(weight=2.0))
    losses["loss_shallow_level_1"].backward()
    assert losses.keys() == {"loss_shallow_level_1"}
    assert main.grad is None
    assert other.grad.abs().sum() > 0


def distilled(config, *teachers, **options):
    terms = [dict(type="logits", temperature=2.0), dict(type="channel", weight=3.0), dict(type="features", level=1)]
    given = dict(teachers=teachers, terms=terms) | options
    return {**config, "val_data": None, "distillation": given}


def test_a_run_that_learns_from_another_resumes_to_the_last_bit_and_saves_the_student_alone(config, teacher, tmp_path):
    config["train_cfg"].update(max_iters=4, checkpoint_interval=2)
    given = distilled(config, str(teacher), str(teacher), label_weight=0.5)
    straight = train(given, work_dir=tmp_path / "straight", device="cpu", progress=False)
    with pytest.raises(SystemError):
        train(cut_at(given, 3), work_dir=tmp_path / "crashed", device="cpu", progress=False)
    resumed = train(given, work_dir=tmp_path / "crashed", resume=True, device="cpu", progress=False)
    assert_same(final_state(resumed), final_state(straight))
    weights, state = final_state(straight)
    plain = densevit.create_segmentor(**vars(check_config(config).model))
    assert weights.keys() == plain.state_dict().keys()
    assert {name.split(".")[1] for name in state["distillation"]} == {"loss_distil_features_1"}
    row = scalars(tmp_path / "straight")[0]
    parts = ["loss_cross_entropy", "loss_distil_logits", "loss_distil_channel", "loss_distil_features_1"]
    assert row["loss"] == pytest.approx(sum(row[part] for part in parts), rel=1e-5)
    with pytest.raises(ValueError, match="trained with other levels of distillation"):
        train({**given, "distillation": None}, work_dir=tmp_path / "straight", resume=True, device="cpu")


def test_deep_to_shallow_needs_no_teacher_and_something_shallow(config, tmp_path):
    given = {**config, "val_data": None, "distillation": dict(shallow=dict(weight=0.5))}
    with pytest.raises(ValueError, match=r"distillation\.shallow is for heads that training adds; set auxiliary"):
        check_config(given)
    given["train_cfg"].update(max_iters=1)
    train({**given, "auxiliary": [dict(level=1, dim=8)]}, work_dir=tmp_path, device="cpu", progress=False)
    assert {"loss_cross_entropy", "loss_auxiliary_1_cross_entropy", "loss_shallow_auxiliary_1"} < scalars(tmp_path)[
        0
    ].keys()


@pytest.fixture(scope="module")
def student_header(scenes):
    from tests.train.conftest import small_config

    checked = check_config(small_config(scenes))
    return make_header(checked, open_stream(checked).dataset)


def test_any_registered_network_and_exported_programs_teach(teacher, student_header, tmp_path):
    image = torch.randn(2, 3, 32, 32)
    network = torch.nn.Conv2d(3, 3, 3, padding=1)
    with ignore_warnings():
        torch.jit.save(torch.jit.trace(network, image), tmp_path / "model.ts")
    torch.export.save(torch.export.export(network, (image,)), tmp_path / "model.pt2")
    monai = dict(backbone="monai.SegResNet", decoder=None, backbone_options=dict(init_filters=8))
    given = [str(tmp_path / "model.ts"), str(tmp_path / "model.pt2"), monai, str(teacher)]
    teachers = Teachers(given, student_header, device=CPU)
    traced, exported, segresnet, of_a_run = (seen.logits for seen in teachers(image))
    whole = network(image)
    torch.testing.assert_close(traced, whole, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(exported, whole, rtol=1e-4, atol=1e-4)
    assert segresnet.shape == (2, 3, 32, 32)
    assert of_a_run.shape == (2, 3, 8, 8)
    assert not any(logits.requires_grad for logits in (traced, exported, segresnet, of_a_run))
    with pytest.raises(ValueError, match="an exported program gives logits alone; take the terms with a level out"):
        assert teachers.level_channels


def test_logits_are_kept_for_the_very_same_image_and_teacher(teacher, student_header, tmp_path):
    image, other = torch.randn(2, 2, 3, 32, 32)
    kept = Teachers([str(teacher)], student_header, device=CPU, cache=str(tmp_path))
    first = kept(image)[0].logits
    plain = Teachers([str(teacher)], student_header, device=CPU)
    torch.testing.assert_close(first, plain(image)[0].logits, rtol=1e-3, atol=1e-3)
    kept.networks[0].head.bias.data += 1.0  # so that what is computed anew would differ
    torch.testing.assert_close(kept(image.flip(0))[0].logits, first.flip(0), rtol=0, atol=0)
    files = sorted(tmp_path.rglob("*.npy"))
    assert len(files) == 2
    changed = Teachers([str(teacher)], student_header, device=CPU, cache=str(tmp_path))
    changed.networks[0].head.bias.data += 1.0
    assert changed(image)[0].logits.equal(first)
    assert changed(other)[0].logits.shape == first.shape
    assert len(sorted(tmp_path.rglob("*.npy"))) == 4
    files[0].write_bytes(b"half a file")
    again = Teachers([str(teacher)], student_header, device=CPU, cache=str(tmp_path))(image)[0].logits
    torch.testing.assert_close(again, first, rtol=1e-3, atol=1e-3)


def test_teachers_that_do_not_fit_are_refused_with_a_way_on(config, teacher, student_header, tmp_path):
    checkpoint = open_checkpoint(teacher)
    path = tmp_path / "weights.safetensors"

    def refuse(header: Header, message: str) -> None:
        write_checkpoint(path, checkpoint.tensors, header)
        with pytest.raises(ValueError, match=message):
            Teachers([str(path)], student_header, device=CPU)

    refuse(replace(checkpoint.header, classes=("a", "b", "c")), r"has the classes \('a', 'b', 'c'\) and the student")
    darker = dict(type="mean_std", mean=[0.0] * 3, std=[255.0] * 3)
    refuse(replace(checkpoint.header, normalization=darker), "was trained with normalization .* give that set the same")
    for given, message in [
        ("nowhere", "distillation.teachers: .*nowhere"),
        ("nowhere.pt2", "nowhere.pt2 not found"),
        (dict(backbone="mit_b9", decoder="all_mlp"), "distillation.teachers: no backbone named 'mit_b9'"),
    ]:
        with pytest.raises(ValueError, match=message):
            Teachers([given], student_header, device=CPU)
    levels = distilled(config, str(teacher), terms=[dict(type="features", level=7)])
    with pytest.raises(ValueError, match=r"distillation\.terms: the student has levels 0 to 3, got level 7"):
        train(levels, work_dir=tmp_path / "run", device="cpu", progress=False)
    for wrong, message in [
        (dict(teachers=["x"], cache="c", terms=[dict(type="features", level=1)]), "cache keeps logits alone"),
        (dict(teachers=["x"], terms=[dict(type="features")]), "level is missing"),
        (dict(teachers=["x"], terms=[dict(), dict()]), "terms has 'logits' twice"),
        (dict(), "teachers is empty"),
    ]:
        with pytest.raises(ValueError, match=message):
            DenseDistillationOptions(**wrong) if not wrong else check_config({**config, "distillation": wrong})


def test_a_classifier_learns_from_a_classifier(pictures, tmp_path):
    plain = class_config(pictures, val_data=None, mixing={})
    plain["train_cfg"].update(max_iters=2, ema=None)
    first = train(plain, work_dir=tmp_path / "teacher", device="cpu", progress=False)
    model = dict(backbone="deit_tiny_distilled", num_classes=3, backbone_options=dict(dim=12, depth=2, num_heads=2))
    student = {**plain, "model": model, "distillation": dict(teachers=[str(first.work_dir)], cache=str(tmp_path / "c"))}
    train(student, work_dir=tmp_path / "student", device="cpu", progress=False)
    row = scalars(tmp_path / "student")[0]
    assert row["loss"] == pytest.approx(row["loss_cross_entropy"] + row["loss_distil"], rel=1e-5)
    assert len(list((tmp_path / "c").rglob("*.npy"))) == 6
