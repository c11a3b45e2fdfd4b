"""What a bundle runs in place of MONAI's own: bad scans are skipped, masks keep three axes, tables name the classes."""

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine
from monai.config import KeysCollection
from monai.data import Dataset, NibabelWriter
from monai.engines import SupervisedEvaluator
from monai.handlers import MetricsSaver, write_metrics_reports
from monai.transforms import SaveImaged
from torch import Tensor

from densevit.imports import import_modules
from densevit.integrations.monai.cases import NAME
from densevit.quoting import csv_cell

logger = logging.getLogger("densevit")
POSTFIX = "seg"
FAILED = "failed"  # in a sample, in place of the scan: which one, and why


def load_parts(names: Sequence[str], folder: str) -> None:
    """Import the modules that register a network's parts, from the bundle's `folder` or as they are installed.

    ValueError with one sentence; MONAI's own `$import NAME` passes over a module that is missing.
    """
    import_modules(names, folders=[Path(folder)])


class ScanDataset(Dataset):
    """A Dataset of scans of which one that cannot be read or prepared is a sample that says so.

    MONAI's loaders end with the first error.
    """

    def __getitem__(self, index: int) -> Any:
        try:
            return super().__getitem__(index)
        except Exception as error:  # MONAI wraps what its transforms raise
            return {FAILED: _reason(error, self.data[index]["image"])}


class ScanEvaluator(SupervisedEvaluator):
    """A SupervisedEvaluator that skips the scans that cannot be read, predicted or written, with a line each.

    `failed` lists the reasons, which name the files.
    """

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.failed: list[str] = []

    def _iteration(self, engine: SupervisedEvaluator, batchdata: Mapping[str, Any]) -> dict[str, Any]:
        if FAILED not in batchdata:
            try:
                return super()._iteration(engine, batchdata)
            except (OSError, ValueError, RuntimeError) as error:
                self._skip([_reason(error, batchdata["image"].meta.get("filename_or_obj", "a scan"))])
        else:
            self._skip(batchdata[FAILED])
        return {}

    def _skip(self, reasons: Sequence[str]) -> None:
        for reason in reasons:
            logger.error("skipped: %s", reason)
        self.failed += reasons


class MaskWriter(NibabelWriter):
    """Writes masks (1, X, Y, Z) as (X, Y, Z): MONAI's own takes an axis of one slice for none."""

    def set_data_array(
        self, data_array: Tensor, channel_dim: int | None = 0, squeeze_end_dims: bool = True, **options: Any
    ) -> None:
        super().set_data_array(data_array, channel_dim=channel_dim, squeeze_end_dims=False, **options)
        self.data_obj, self.channel_dim = self.data_obj[..., 0], None  # the channel, which is the last axis here


class SaveImageMaskd(SaveImaged):
    """SaveImaged of masks by `MaskWriter`: OUTPUT_DIR/NAME_seg.nii.gz, in the folder that `list_scans` may have named.

    MONAI Label and MONAI Deploy recognise it by its base class and its name, and leave it out.
    """

    def __init__(self, keys: KeysCollection, *, output_dir: str, output_dtype: Any):
        options = dict(output_postfix=POSTFIX, resample=False, separate_folder=False, writer=MaskWriter)
        super().__init__(keys, output_dir=output_dir, output_dtype=output_dtype, **options)
        self.folder = Path(output_dir)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        if NAME not in data:
            return super().__call__(data)
        path = self.folder / f"{data[NAME]}_{POSTFIX}"
        path.parent.mkdir(parents=True, exist_ok=True)
        for key in self.key_iterator(dict(data)):
            self.saver(img=data[key], filename=path)
        return dict(data)


class ScoreSaver(MetricsSaver):
    """A MetricsSaver whose tables have the names of `classes` in place of class0, class1, ..."""

    def __init__(self, *, classes: Sequence[str], save_dir: str, metric: str, batch_transform: Callable[..., Any]):
        super().__init__(save_dir=save_dir, metrics=[metric], metric_details=[metric], batch_transform=batch_transform)
        self.classes = [_cell(name) for name in classes]

    def __call__(self, engine: Engine) -> None:
        chosen = {name: values for name, values in engine.state.metric_details.items() if name in self.metric_details}
        write_metrics_reports(
            save_dir=self.save_dir,
            images=[_cell(name) for name in self._filenames],
            metrics={name: value for name, value in engine.state.metrics.items() if name in self.metrics},
            metric_details=chosen,
            summary_ops="*",
            class_labels=self.classes,
        )


def _cell(text: str) -> str:
    """A name for a table of MONAI's, which quotes nothing."""
    plain = str(csv_cell(text))
    return '"' + plain.replace('"', '""') + '"' if any(mark in plain for mark in ',"\n\r') else plain


def _reason(error: BaseException, image: Any) -> str:
    """The innermost error, which is the reader's own, in one line that names the file."""
    while error.__cause__ is not None:
        error = error.__cause__
    text, name = " ".join(str(error).split()), str(image[0] if isinstance(image, list | tuple) else image)
    return text if name in text else f"{name}: {text}"
