"""inference.json, train.json and evaluate.json of a MONAI bundle, as dictionaries.

They name classes of MONAI and of `densevit.integrations.monai`; a string that begins with "$" is Python that MONAI
evaluates, and "@id" stands for another entry of the file.
"""

from typing import Any

from densevit.export.monai_metadata import Source
from densevit.quoting import monai_data

Config = dict[str, Any]
OURS = "densevit.integrations.monai"
DEVICE = "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')"
LABELLED = ["$import torch", "$from monai.handlers import from_engine", f"$from {OURS}.cases import list_cases"]
LOAD_WEIGHTS = dict(
    _target_="CheckpointLoader", load_path="$@bundle_root + '/models/model.pt'", load_dict={"model": "@network"}
)
BENCHMARK = "$setattr(torch.backends.cudnn, 'benchmark', True)"


def make_inference(source: Source) -> Config:
    """Scans in, masks on the scans' own grids out."""
    dtype = f"$numpy.{source.header.values.dtype.name}"
    save = call(f"{OURS}.bundle.SaveImageMaskd", keys="pred", output_dir="@output_dir", output_dtype=dtype)
    return dict(
        imports=[
            "$import sys",
            "$import numpy",
            "$import torch",
            f"$from {OURS}.cases import list_scans",
        ],
        bundle_root=".",
        device=DEVICE,
        datalist="$@bundle_root + '/scans'",
        output_dir="$@bundle_root + '/eval'",
        label_values=source.header.values.tolist(),
        **network(source),
        preprocessing=call("Compose", transforms=[*load(["image"]), prepare_scan(source)]),
        dataset=call(
            f"{OURS}.bundle.ScanDataset",
            data=f"$list_scans(@datalist, channels={source.header.in_channels})",
            transform="@preprocessing",
        ),
        dataloader=call("DataLoader", dataset="@dataset", batch_size=1, shuffle=False, num_workers=0),
        inferer=inferer(source),
        postprocessing=call("Compose", transforms=[restore("@label_values"), save]),
        handlers=[LOAD_WEIGHTS, call("StatsHandler", iteration_log=False)],
        evaluator=call(
            f"{OURS}.bundle.ScanEvaluator",
            device="@device",
            val_data_loader="@dataloader",
            network="@network",
            inferer="@inferer",
            postprocessing="@postprocessing",
            val_handlers="@handlers",
        ),
        initialize=[BENCHMARK],
        run=["$@evaluator.run()", "$sys.exit(1) if @evaluator.failed else None"],
    )


def make_evaluate(source: Source) -> Config:
    """Mean Dice of cases with labels, on the scans' own grids; each case's goes to a CSV file in `output_dir`."""
    saver = call(
        f"{OURS}.bundle.ScoreSaver",
        classes=monai_data(list(source.header.classes[1:])),
        save_dir="@output_dir",
        metric="val_mean_dice",
        batch_transform="$lambda batch: [sample['image'].meta for sample in batch]",
    )
    return dict(
        imports=[*LABELLED],
        bundle_root=".",
        device=DEVICE,
        dataset_dir="$@bundle_root + '/data'",
        cases=dict(type="msd", root="@dataset_dir", split="val"),
        output_dir="$@bundle_root + '/eval'",
        **network(source),
        validate=_validation(source, [LOAD_WEIGHTS, call("StatsHandler", iteration_log=False), saver]),
        initialize=[BENCHMARK],
        run=["$@validate#evaluator.run()"],
    )


def make_train(source: Source) -> Config:
    """Training from fresh weights on a data set of any kind that densevit reads, by default a Decathlon folder."""
    handlers = [
        call("StatsHandler", iteration_log=False),
        call(
            "CheckpointSaver",
            save_dir="$@bundle_root + '/models'",
            save_dict={"model": "@network"},
            save_key_metric=True,
            key_metric_filename="model.pt",
        ),
    ]
    return dict(
        imports=[*LABELLED, "$from monai.utils import set_determinism"],
        bundle_root=".",
        device=DEVICE,
        dataset_dir="$@bundle_root + '/data'",
        train_cases=dict(type="msd", root="@dataset_dir", split="train"),
        cases=dict(type="msd", root="@dataset_dir", split="val"),
        epochs=100,
        val_interval=5,
        learning_rate=1e-4,
        batch_size=2,
        num_workers=2,
        cache_rate=0.0,
        **network(source),
        loss=call(f"{OURS}.losses.SegmentationLoss", config=[{"type": "cross_entropy"}, {"type": "dice"}]),
        optimizer=call("torch.optim.AdamW", params="$@network.parameters()", lr="@learning_rate", weight_decay=1e-5),
        lr_scheduler=call(
            "torch.optim.lr_scheduler.PolynomialLR", optimizer="@optimizer", total_iters="@epochs", power=0.9
        ),
        train=_training(source),
        validate=_validation(source, handlers),
        initialize=["$set_determinism(seed=0)"],
        run=["$@train#trainer.run()"],
    )


def _training(source: Source) -> Config:
    size = list(source.inference["roi_size"] or [max(32, d) for d in source.inference["divisor"]])
    sampling = dict(pos=1, neg=1, num_samples=2, allow_smaller=True)
    crop = [
        call("RandCropByPosNegLabeld", keys=["image", "label"], label_key="label", spatial_size=size, **sampling),
        call("SpatialPadd", keys="image", spatial_size=size),
        call("SpatialPadd", keys="label", spatial_size=size, value=255),  # ignored by the loss
        call("RandScaleIntensityd", keys="image", factors=0.1, prob=0.5),
        call("RandShiftIntensityd", keys="image", offsets=0.1, prob=0.5),
    ]
    prepare = [*load(["image", "label"]), prepare_scan(source), prepare_label(source, resample=True)]
    handlers = [
        call("LrScheduleHandler", lr_scheduler="@lr_scheduler", print_lr=True),
        call("ValidationHandler", validator="@validate#evaluator", epoch_level=True, interval="@val_interval"),
        call("StatsHandler", tag_name="train_loss", output_transform="$from_engine(['loss'], first=True)"),
    ]
    return dict(
        preprocessing=call("Compose", transforms=prepare + crop),
        dataset=call(
            "CacheDataset",
            data="$list_cases(@train_cases)",
            transform="@train#preprocessing",
            cache_rate="@cache_rate",
        ),
        dataloader=call(
            "DataLoader", dataset="@train#dataset", batch_size="@batch_size", shuffle=True, num_workers="@num_workers"
        ),
        inferer=call("SimpleInferer"),
        handlers=handlers,
        trainer=call(
            "SupervisedTrainer",
            max_epochs="@epochs",
            device="@device",
            train_data_loader="@train#dataloader",
            network="@network",
            loss_function="@loss",
            optimizer="@optimizer",
            inferer="@train#inferer",
            train_handlers="@train#handlers",
        ),
    )


def _validation(source: Source, handlers: list[Config]) -> Config:
    """An evaluator of `@cases` that scores class numbers on the scans' own grids."""
    one_hot = call("AsDiscreted", keys=["pred", "label"], to_onehot=source.header.num_classes)
    prepare = [*load(["image", "label"]), prepare_scan(source), prepare_label(source, resample=False)]
    dice = call("MeanDice", include_background=False, output_transform="$from_engine(['pred', 'label'])")
    return dict(
        preprocessing=call("Compose", transforms=prepare),
        dataset=call("Dataset", data="$list_cases(@cases)", transform="@validate#preprocessing"),
        dataloader=call("DataLoader", dataset="@validate#dataset", batch_size=1, shuffle=False, num_workers=0),
        inferer=inferer(source),
        postprocessing=call("Compose", transforms=[restore(None), one_hot]),
        handlers=handlers,
        evaluator=call(
            "SupervisedEvaluator",
            device="@device",
            val_data_loader="@validate#dataloader",
            network="@network",
            inferer="@validate#inferer",
            postprocessing="@validate#postprocessing",
            key_val_metric={"val_mean_dice": dice},
            val_handlers="@validate#handlers",
        ),
    )


def call(target: str, **arguments: Any) -> Config:
    """A component: a class or function by name, and its arguments."""
    return {"_target_": target, **arguments}


def network(source: Source) -> Config:
    """The network that the exported weights fit; modules that register its parts are imported before."""
    model = {key: monai_data(value) for key, value in source.header.model.items() if key != "weights"}
    if source.imports:
        names, folder = list(source.imports), "$@bundle_root + '/scripts'"
        model["_requires_"] = call(f"{OURS}.bundle.load_parts", names=names, folder=folder)
    return dict(
        network_def=call("densevit.create_segmentor", **model),
        network="$@network_def.to(@device)",
    )


def load(keys: list[str]) -> list[Config]:
    """Files to tensors, channels first."""
    return [call(f"{OURS}.reader.LoadImageScand", keys=keys), call("EnsureChannelFirstd", keys=keys)]


def prepare_scan(source: Source) -> Config:
    """The transform that prepares scans for the network."""
    return call(
        f"{OURS}.transforms.PrepareScand",
        keys="image",
        normalization=monai_data(source.header.normalization),
        spacing=source.header.spacing,
        modality=list(source.header.modalities),
    )


def prepare_label(source: Source, *, resample: bool) -> Config:
    """Labels as class numbers."""
    return call(
        f"{OURS}.transforms.PrepareLabeld",
        keys="label",
        label_values=source.header.values.tolist(),
        classes=monai_data(list(source.header.classes)),
        spacing=source.header.spacing,
        resample=resample,
    )


def inferer(source: Source) -> Config:
    """Scans to class numbers on the scans' own grids."""
    return call(f"{OURS}.inferer.ScanInferer", inference=monai_data(source.inference))


def restore(values: str | None) -> Config:
    """Class numbers to values on the files' own axes."""
    return call(f"{OURS}.transforms.RestoreLabeld", keys="pred", label_values=values)
