"""DINO as a task of the one loop: pictures and volumes without labels, its teacher, and what starts from it."""

import json
import signal
from shutil import copytree, rmtree

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

import densevit
from densevit.analyze.masks import attention_masks, label_of_heads
from densevit.checkpoint import open_checkpoint
from densevit.cli.main import main
from densevit.runs.run import open_runs
from densevit.train import check_config, train
from densevit.train.schedules import cosine
from densevit.train.task import kind_of
from densevit.weights import load_weights, read_weights
from tests.train.hooks import Scheduler

SMALL = dict(dim=24, depth=2, num_heads=2, patch_size=8, image_size=32, taps=(0, 1))
VIEWS = dict(global_size=(32, 32), local_size=(16, 16), num_locals=2)


def config(root, **changes):
    plain = dict(
        task="dino",
        model=dict(backbone="vit_tiny", backbone_options=SMALL),
        head=dict(out_dim=32, hidden_dim=16, bottleneck_dim=8),
        teacher=dict(momentum=0.9),
        freeze_last_layer_iters=1,
        optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.04, no_decay=("norm", "bias")),
        schedule=dict(type="cosine", end_weight_decay=0.4),
        train_cfg=dict(max_iters=3, val_interval=3, checkpoint_interval=2, log_interval=1, clip_grad=3.0, best="mIoU"),
        train_data=dict(dataset=folder(root, "train"), augment=VIEWS, batch_size=2, num_workers=0),
        visualization=dict(tensorboard=False),
    )
    plain["train_cfg"]["clip_each"] = True
    return plain | changes


def folder(root, split):
    return dict(type="folder", root=str(root), split=split)


def validated(root):
    return config(root, val_data=dict(dataset=folder(root, "val"), num_workers=0))


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    """Three iterations, validated by patches of the training pictures."""
    return train(validated(scenes), work_dir=tmp_path_factory.mktemp("dino") / "run", device="cpu", progress=False)


@pytest.fixture
def task(scenes):
    torch.manual_seed(0)
    return kind_of("dino").open(check_config(config(scenes)), torch.device("cpu"))


def test_losses_and_signs_of_collapse_are_logged_and_frozen_features_scored(trained):
    rows = [json.loads(line) for line in (trained.work_dir / "scalars.jsonl").read_text().splitlines()]
    losses = [row for row in rows if "loss_dino" in row]
    assert [row["iter"] for row in losses] == [1, 2, 3]
    signs = ("teacher_entropy", "mean_entropy", "feature_rank", "feature_spread")
    assert all(np.isfinite(row[name]) for row in losses for name in signs)
    assert trained.scores["mIoU"] > 20  # three colours: even random features tell them apart
    assert trained.best is not None
    assert open_runs([trained.work_dir])[0].facts()["parameters"] > 0


def test_a_run_that_was_cut_goes_on_bit_for_bit(scenes, trained, tmp_path):
    folder = copytree(trained.work_dir, tmp_path / "run")
    rmtree(folder / "checkpoints" / "iter_3")
    (folder / "last_checkpoint").write_text(str(folder / "checkpoints" / "iter_2"))
    result = train(validated(scenes), work_dir=folder, resume=True, device="cpu", progress=False)
    first, second = (read_weights(each.checkpoint)[0] for each in (trained, result))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    states = [torch.load(each.checkpoint.parent / "state.pt", weights_only=True) for each in (trained, result)]
    for part in ("student", "teacher_head"):
        there, here = (state[part] for state in states)
        assert all(torch.equal(there[name], here[name]) for name in there)
    assert torch.equal(*(state["centre"] for state in states))


def test_the_teacher_begins_as_the_student_and_follows_it_without_gradients(task):
    batch = next(iter(task.open_batches(0)))
    before = [parameter.clone() for parameter in task.teacher.parameters()]
    student = list(task.model.student.parameters())
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(before, student, strict=True))
    sum(task.step(batch).values()).backward()
    assert not any(parameter.requires_grad for parameter in task.teacher.parameters())
    assert task.centre.mean.abs().sum() > 0
    task.before_update()
    assert task.model.student.head.last_layer.weight_v.grad is None  # frozen in the first iteration
    with torch.no_grad():
        [parameter.add_(1) for parameter in student]
    for iteration in range(2):
        task.after_update()
        momentum = cosine(0.9, 1.0, done=iteration / 3)
        pairs = zip(before, student, strict=True)
        before = [momentum * old + (1 - momentum) * new.detach() for old, new in pairs]
        for mine, expected in zip(task.teacher.parameters(), before, strict=True):
            torch.testing.assert_close(mine, expected)
    sum(task.step(batch).values()).backward()
    task.before_update()
    assert task.model.student.head.last_layer.weight_v.grad is not None


def test_views_of_one_size_go_through_the_backbone_together(task):
    views = next(iter(task.open_batches(0)))["views"]
    assert [tuple(view.shape) for view in views] == [(2, 3, 32, 32)] * 2 + [(2, 3, 16, 16)] * 2
    sizes = []
    network = task.model.student.eval()
    hook = network.backbone.stages[0].downsample.register_forward_pre_hook(
        lambda module, inputs: sizes.append(inputs[0].shape)
    )
    together = network(views)
    hook.remove()
    assert [tuple(size) for size in sizes] == [(4, 32, 32, 3), (4, 16, 16, 3)]
    alone = torch.cat([network([view]) for view in views])
    torch.testing.assert_close(together, alone)


def test_views_depend_on_the_draw_alone(task):
    again, draw = task.stream[5], task.stream[5]
    assert all(torch.equal(a, b) for a, b in zip(again[0], draw[0], strict=True))
    assert not torch.equal(again[0][0], again[0][1])
    assert again[1]["label"] is None  # label maps are not read


@pytest.mark.parametrize("tokens", [0, 1])
def test_its_weights_start_a_segmentor(tokens, trained):
    model = densevit.create_segmentor(
        *("vit_tiny", "all_mlp"),
        num_classes=5,
        backbone_options=dict(SMALL, num_tokens=tokens, weights=str(trained.work_dir)),
    )
    ((path, report),) = model.backbone.load_reports
    assert path == str(trained.work_dir)
    assert report.complete
    given = read_weights(trained.best)[0]
    name = "stages.1.blocks.0.attn.qkv.weight"
    assert torch.equal(model.backbone.state_dict()[name], given[f"backbone.{name}"])


def test_a_backbone_alone_predicts_nothing_and_is_analysed(scenes, trained, tmp_path, capsys):
    assert open_checkpoint(trained.best, backbones=True).header.is_of_backbone
    for kind in (densevit.Predictor, densevit.ClassPredictor):
        with pytest.raises(ValueError, match="holds a backbone alone, which knows no classes; train a segmentor"):
            kind(trained.best)
    assert main(["test", str(trained.work_dir / "config.py"), str(trained.work_dir), "--device", "cpu"]) == 2
    assert "score its frozen features by densevit probe" in capsys.readouterr().err
    picture = next((scenes / "images" / "val").iterdir())
    command = ["analyze", str(trained.work_dir), str(picture), "-o", str(tmp_path), "--size", "32", "--quiet"]
    assert main(command) == 0
    facts = json.loads((tmp_path / "analysis.json").read_text())
    assert facts["masks"]["pictures"] == [dict(image=picture.stem, picture="masks_00.png")]
    labels = np.asarray(Image.open(tmp_path / "mask_labels_00.png"))
    assert labels.shape == (32, 32)
    assert set(np.unique(labels)) <= {0, 1, 2}  # two heads
    assert labels.any()


def test_masks_are_the_fewest_places_that_hold_the_mass():
    maps = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0)) ** 3
    masks = attention_masks(maps, mass=0.6)
    for values, mask in zip(maps, masks, strict=True):
        rest, held = 0.6 * float(values.sum()), 0
        for value in sorted(values.flatten().tolist(), reverse=True):
            held += rest > 0
            rest -= value
        assert int(mask.sum()) == held
        assert values[mask].min() >= values[~mask].max()
    label = label_of_heads(maps, masks)
    assert torch.equal(label > 0, masks.any(0))


def test_volumes_learn_by_the_same_task(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "scans").mkdir()
    for i in range(3):
        volume = rng.normal(i, 1, (20, 18, 22)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "scans" / f"{i}.nii.gz")
    views = dict(global_view=dict(crop_size=(16, 16, 16), intensity=0.2), local_view=dict(crop_size=(8, 8, 8)))
    options = config(
        tmp_path,
        model=dict(backbone="mit_b0", in_channels=1, spatial_dims=3, backbone_options=dict(dims=(8, 16, 40, 64))),
        train_data=dict(
            dataset=dict(type="volume_folder", root=str(tmp_path), images="scans/*.nii.gz", labels=None),
            augment=dict(views, num_locals=1),
            batch_size=2,
            num_workers=0,
        ),
    )
    result = train(options, work_dir=tmp_path / "run", device="cpu", progress=False)
    header = open_checkpoint(result.checkpoint, backbones=True).header
    assert (header.spatial_dims, header.in_channels, header.spacing) == (3, 1, (1.0, 1.0, 1.0))


@pytest.fixture
def of_classes(tmp_path):
    """A config that is validated by classes of images, of which there are four in each split."""
    for split, name, color in ((s, n, c) for s in ("train", "val") for n, c in (("dark", 30), ("light", 220))):
        (tmp_path / split / name).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (40, 36), (color, color, color + i)).save(tmp_path / split / name / f"{i}.png")
    data = {split: dict(type="class_folder", root=str(tmp_path), split=split) for split in ("train", "val")}
    return config(
        tmp_path,
        train_data=dict(dataset=data["train"], augment=VIEWS, batch_size=2, num_workers=0),
        val_data=dict(dataset=data["val"], num_workers=0, batch_size=1),
        view=dict(size=(32, 32)),
        neighbours=2,
    )


def test_a_signal_ends_a_validation_and_then_the_run_with_its_last_checkpoint(scenes, tmp_path):
    hook = dict(type=Scheduler.__name__, number=int(signal.SIGTERM), validation=True)
    options = validated(scenes) | dict(custom_hooks=[hook])
    options["train_cfg"] = options["train_cfg"] | dict(val_interval=1)
    stopped = train(options, work_dir=tmp_path, device="cpu", progress=False)
    assert (stopped.stopped, stopped.checkpoint.parent.name) == (signal.SIGTERM, "iter_2")
    assert "validation at iteration 1 was stopped before its end" in (tmp_path / "log.txt").read_text()
    assert stopped.best is None


@pytest.mark.parametrize("kind", ["places", "images"])
def test_a_validation_that_is_stopped_sees_no_further_image(scenes, of_classes, kind):
    options = check_config(validated(scenes) if kind == "places" else of_classes | dict(train_cfg=dict(max_iters=1)))
    task = kind_of("dino").open(options, torch.device("cpu"))
    for last in (1, len(task.scores.known) + 1):  # of the images that are known, and of those that are asked
        seen = []

        def on_image(done, total, *, seen=seen, last=last):
            seen.append(done)
            return len(seen) == last

        assert task.validate(on_image=on_image) is None
        assert len(seen) == last


def test_classes_of_images_are_told_by_neighbours_on_the_way(of_classes, tmp_path):
    options = of_classes
    with pytest.raises(ValueError, match=r"train_cfg\.best must be 'top1' or 'mAcc'"):
        check_config(options)
    options["train_cfg"] = dict(max_iters=1, val_interval=1)
    result = train(options, work_dir=tmp_path / "run", device="cpu", progress=False)
    assert list(result.scores["classes"]) == ["dark", "light"]
    assert result.scores["top1"] >= 50


def test_patches_of_a_segmentation_config_are_probed(scenes, trained, tmp_path, capsys):
    path, scores = tmp_path / "config.json", tmp_path / "scores.json"
    plain = dict(
        model=dict(backbone="vit_tiny", decoder="all_mlp", num_classes=3, backbone_options=SMALL),
        loss=[dict(type="cross_entropy")],
        optimizer=dict(lr=1e-3),
        schedule=dict(type="poly"),
        train_cfg=dict(max_iters=1),
        train_data=dict(dataset=folder(scenes, "train"), augment=dict(crop_size=(32, 32)), batch_size=1),
        val_data=dict(dataset=folder(scenes, "val")),
    )
    path.write_text(json.dumps(plain))
    command = ["probe", str(path), str(trained.work_dir), "--device", "cpu", "--quiet", "--json", str(scores)]
    assert main([*command, "--size", "32", "40"]) == 0
    told = json.loads(scores.read_text())
    assert told["linear"]["mIoU"] > 50
    assert told["20 neighbours"]["mIoU"] > 50
    assert main([*command, "--size", "32"]) == 2
    assert "--size takes a number for each axis" in capsys.readouterr().err


def test_checkpoints_of_the_authors_begin_backbone_and_head(scenes, task, tmp_path):
    network, path = task.model.student, tmp_path / "checkpoint.pth"
    theirs = {f"head.{name}": value for name, value in network.head.state_dict().items()}
    torch.save(dict(student={}, teacher={f"module.{name}": value for name, value in theirs.items()}), path)
    options = config(scenes, head=dict(out_dim=32, hidden_dim=16, bottleneck_dim=8, weights=str(path)))
    torch.manual_seed(1)
    begun = kind_of("dino").open(check_config(options), torch.device("cpu")).model.student.head
    assert torch.equal(begun.last_layer.weight_v, network.head.last_layer.weight_v)
    with pytest.raises(ValueError, match=r"head\.last_layer\.weight_g is \(16, 1\) here and \(32, 1\) there"):
        kind_of("dino").open(check_config(options | dict(head=options["head"] | dict(out_dim=16))), "cpu")


def test_a_whole_xcit_of_the_authors_loads_without_its_head(tmp_path):
    small = dict(dim=32, depth=2, num_heads=2, taps=(0, 1))
    model = densevit.create_backbone("xcit_nano_12_p16", **small)
    from densevit.weights import to_theirs

    state = to_theirs(model.state_dict(), "facebook_xcit")
    head = dict.fromkeys(("mlp.0.weight", "last_layer.weight_g", "last_layer.weight_v"), torch.ones(1))
    whole = {f"module.backbone.{name}": value for name, value in state.items()}
    whole |= {f"module.head.{name}": value for name, value in head.items()}
    torch.save(dict(teacher=whole), tmp_path / "checkpoint.pth")
    report = load_weights(densevit.create_backbone("xcit_nano_12_p16", **small), tmp_path / "checkpoint.pth")
    assert report.complete


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(model=dict(backbone="mit_b9")), "did you mean mit_b"),
        (dict(schedule=dict(end_weight_decay=0.4), optimizer=dict(lr=1e-3)), "end_weight_decay needs a decay to begin"),
        (dict(train_cfg=dict(max_iters=1, ema=0.9)), "the teacher is their average; leave it out"),
        (
            dict(model=dict(backbone="mit_b0", spatial_dims=3, in_channels=1)),
            "did you mean global_view",
        ),
        (dict(head=dict(out_dim=1)), "head.out_dim must be at least 2"),
    ],
)
def test_what_does_not_fit_is_one_sentence(change, sentence, scenes):
    with pytest.raises(ValueError, match=sentence):
        check_config(config(scenes, **change))
