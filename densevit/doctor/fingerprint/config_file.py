"""A proposal as a config file that trains, with the reason beside each number."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from densevit.doctor.fingerprint.measure import Fingerprint
from densevit.doctor.fingerprint.propose import Proposal
from densevit.doctor.fingerprint.python_text import Commented, Expression, assignment
from densevit.quoting import in_docstring, printable
from densevit.texts import format_bytes
from densevit.weights import family_of

PASSES = 200  # over the cases to train on
ITERATIONS = (1000, 30_000)


def iterations(num_cases: int, batch_size: int) -> int:
    """PASSES passes within ITERATIONS, in hundreds."""
    wanted = round(PASSES * num_cases / batch_size, -2)
    return int(min(max(wanted, ITERATIONS[0]), ITERATIONS[1]))


def config_text(
    found: Fingerprint,
    proposal: Proposal,
    *,
    command: str,
    max_memory: int,
    max_iters: int | None = None,
    imports: Sequence[str] = (),
) -> str:
    """The whole file; `command` is how it was made, and `imports` are the modules of the user's own parts."""
    steps = max_iters or iterations(len(found.trained), proposal.batch_size)
    parts = [
        _docstring(found, command),
        *([assignment("custom_imports", list(imports))] if imports else []),
        assignment("model", _model(found, proposal)),
        assignment("loss", [dict(type="cross_entropy"), dict(type="dice")]),
        assignment("optimizer", _optimizer(proposal)),
        assignment(
            "schedule", dict(type="cosine", power=1.0, min_lr=0.0, warmup_iters=min(100, steps), warmup_ratio=1e-3)
        ),
        assignment("train_cfg", _train_cfg(found, steps, given=max_iters is not None)),
        assignment("train_data", _train_data(found, proposal, max_memory)),
    ]
    if _validates(found):
        parts.append(
            assignment("val_data", dict(dataset=Expression('dict(train_data["dataset"], split="val")'), num_workers=1))
        )
    parts.append(assignment("inference", _inference(proposal)))
    return parts[0] + "".join(parts[1:])


def _docstring(found: Fingerprint, command: str) -> str:
    name = Path(found.dataset.get("datalist") or found.dataset["root"]).stem or "this set"
    val = len(found.cases) - len(found.trained)
    number = f"{len(found.trained)} {'case' if len(found.trained) == 1 else 'cases'} to train on"
    return (
        f'"""{in_docstring(name)}, as `densevit fingerprint` proposes it from {number}.\n\n'
        f"Cases for validation: {val}; none of their numbers is used here.\n"
        f'Command: `densevit train` with this file. Time and score are not known before it has run.\n"""\n\n'
        f"# Made by: {printable(command)}\n"
    )


def _model(found: Fingerprint, proposal: Proposal) -> dict[str, Any]:
    model = dict(proposal.model)
    model["num_classes"] = Commented(model["num_classes"], ", ".join(found.classes)[:90])
    model["in_channels"] = Commented(model["in_channels"], ", ".join(found.channels)[:90])
    if "backbone_options" in model:
        reason = family_of(model["backbone"]).crop_reason
        model["backbone_options"] = Commented(model["backbone_options"], reason)
    return model


def _optimizer(proposal: Proposal) -> dict[str, Any]:
    return dict(
        type="AdamW",
        lr=1e-3,
        betas=(0.9, 0.999),
        weight_decay=0.01,
        no_decay=proposal.no_decay,
        lr_multipliers=Commented(dict(head=10.0), "the last layer has few weights, which have far to go"),
    )


def _train_cfg(found: Fingerprint, steps: int, *, given: bool) -> dict[str, Any]:
    interval = max(1, steps // 10)
    why = "as --max-iters said" if given else f"{PASSES} passes over the cases, {ITERATIONS[0]} to {ITERATIONS[1]}"
    settings = dict(
        max_iters=Commented(steps, why),
        val_interval=interval,
        checkpoint_interval=interval,
        log_interval=min(25, steps),
        clip_grad=1.0,
        best="mCaseDice",
    )
    if not _validates(found):
        del settings["best"]
    return settings


def _train_data(found: Fingerprint, proposal: Proposal, max_memory: int) -> dict[str, Any]:
    memory = f"about {format_bytes(proposal.bytes)} in float32, of the {format_bytes(max_memory)} that were given"
    return dict(
        dataset=_dataset(found, proposal),
        augment=_augment(found, proposal),
        batch_size=Commented(proposal.batch_size, f"{memory}; train_cfg.amp='bf16' takes less"),
        num_workers=2,
    )


def _dataset(found: Fingerprint, proposal: Proposal) -> dict[str, Any]:
    dataset = {key: value for key, value in found.dataset.items() if key not in ("split", "check")}
    dataset = dict(type=dataset.pop("type"), root=dataset.pop("root"), split="train", **dataset)
    if found.failed:
        left_out = (*dataset.get("leave_out", ()), *found.failed)
        dataset["leave_out"] = Commented(left_out, "cannot be read: `densevit fingerprint` says why")
    if dataset.get("val_every"):
        dataset["val_every"] = Commented(dataset["val_every"], "every n-th subject is for validation")
    thick = "; of its thick slices the 10th percentile" if proposal.anisotropic else ""
    dataset["spacing"] = Commented(proposal.spacing, f"mm (D, H, W): the median case's{thick}")
    dataset["normalization"] = Commented(proposal.normalization, _why_normalized(proposal))
    dataset["cache"] = Commented(True, "prepared cases are kept on disk: docs/fingerprint.md")
    return dataset


def _why_normalized(proposal: Proposal) -> str:
    kind = proposal.normalization["type"]
    if kind == "by_channel":
        return "a channel after the other: CT by numbers of the set, what has no unit by case"
    if kind == "ct":
        return "HU: clipped to the set's 0.5 and 99.5 percentiles of the foreground, less its mean, over its deviation"
    brain = "; voxels of exactly 0 are many and left out" if proposal.normalization.get("nonzero") else ""
    return f"by case, for its units mean nothing in others{brain}"


def _augment(found: Fingerprint, proposal: Proposal) -> dict[str, Any]:
    size = " x ".join(map(str, proposal.size))
    mirrored = "left and right: no class name tells them apart"
    if proposal.left_and_right:
        mirrored = "no mirror images: the classes tell left from right"
    rotate: dict[str, Any] = dict(rotate=15.0)
    if proposal.thick is not None:
        rotate = dict(rotate=Commented(0.0, "slices are too thick to be turned out of their plane"))
        rotate |= dict(rotate_in_plane=15.0) if proposal.thick == 0 else {}
    return dict(
        crop_size=Commented(proposal.crop_size, f"the median case has {size} voxels at this spacing"),
        scale=(0.85, 1.15),
        **rotate,
        foreground=Commented(proposal.foreground, "how often a crop holds a voxel of a chosen class"),
        flips=Commented((0.0, 0.0, 0.0 if proposal.left_and_right else 0.5), mirrored),
        intensity=0.2,
        noise=0.1,
    )


def _inference(proposal: Proposal) -> dict[str, Any]:
    return dict(mode="slide_gaussian", roi_size=Commented(proposal.crop_size, "as in training"))


def _validates(found: Fingerprint) -> bool:
    return len(found.cases) > len(found.trained)
