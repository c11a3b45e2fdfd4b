"""What is written of a predicted scan: mask, statistics, DICOM-SEG, preview; and of all scans in a folder.

Legend: label (D, H, W) of the file's values.
"""

import csv
import io
import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from densevit.files import write_text
from densevit.labels import structure_colors
from densevit.predictor.inputs import Input
from densevit.predictor.outputs import Origin, Predicted, is_same
from densevit.predictor.scans import is_dicom
from densevit.predictor.structures import measure_structures, table_rows
from densevit.quoting import csv_cell, label_name

logger = logging.getLogger("densevit")
# (path, volume, label, *, classes, values): makes a picture of a scan, such as report.preview.save_preview.
Preview = Callable[..., Any]


@dataclass(frozen=True)
class ScanWriter:
    """What is written of scans to a folder: always NAME.nii.gz and NAME.json, on request NAME.dcm and NAME.png."""

    path: Path
    classes: Sequence[str]
    values: np.ndarray
    dicom_seg: bool = False
    preview: Preview | None = None

    def targets(self, scan: Input) -> list[Path]:
        """All files of a scan that are asked for; the statistics are written last."""
        endings = [".nii.gz", ".json"]
        endings += [".dcm"] if self.dicom_seg and is_dicom(scan.path) else []
        endings += [".png"] if self.preview is not None else []
        return [self._file(scan, ending) for ending in endings]

    def is_done(self, scan: Input, origin: Origin) -> bool:
        said = _read(self._file(scan, ".json"))
        return is_same(said.get("origin"), origin) and {path.name for path in self.targets(scan)} <= {*said["files"]}

    def forget(self, scan: Input) -> None:
        """Remove the statistics of an earlier run and the files that they name; without them a scan is not done."""
        statistics = self._file(scan, ".json")
        for name in map(str, _read(statistics).get("files", ())):
            if re.fullmatch(rf"{re.escape(statistics.stem)}\.[\w.]+", name):
                statistics.with_name(name).unlink(missing_ok=True)
        statistics.unlink(missing_ok=True)

    def write(self, scan: Input, predicted: Predicted) -> list[Path]:
        """Everything of one scan, each file complete or not there; the path of the mask.

        ValueError, once all else is written, for a DICOM series to which no DICOM-SEG can refer.
        """
        volume, label, mask = predicted.opened, predicted.label, self._file(scan, ".nii.gz")
        named = dict(classes=self.classes, values=self.values.tolist())
        labels = {str(value): name for value, name in zip(named["values"], self.classes, strict=True)}
        with predicted.stopwatch.measure("write"):
            volume.write_label(label, mask, names=[f"{value}={name}" for value, name in labels.items() if value != "0"])
            refused = self._write_dicom_seg(scan, predicted) if self.dicom_seg else None
            if self.preview is not None:
                self.preview(self._file(scan, ".png"), volume, label, **named)
            structures = measure_structures(label, volume.image, grid=volume.grid, **named)
        statistics = self._file(scan, ".json")
        content = dict(
            scan=str(scan.path),
            origin=predicted.origin,
            files=[path.name for path in self.targets(scan) if path.is_file()] + [statistics.name],
            spacing=list(volume.grid.spacing),
            labels=labels,
            structures=structures,
            seconds={part: round(seconds, 4) for part, seconds in predicted.stopwatch.seconds.items()},
        )
        write_text(statistics, json.dumps(content, indent=1))
        if refused is not None:
            raise refused
        return [mask]

    def finish(self, origin: Origin) -> None:
        """labels.ctbl and labels.txt, which viewers read, and volumes.csv of all statistics that lie in the folder.

        Those of another model or other options are left out, with a warning: a table speaks of one thing.
        """
        colors = structure_colors(len(self.classes))
        rows = [*zip(self.values.tolist(), self.classes, colors, strict=True)]
        write_text(self.path / "labels.ctbl", slicer_table(rows))
        write_text(self.path / "labels.txt", itk_snap_table(rows))
        lines: list[dict[str, Any]] = []
        others: list[str] = []
        for path in sorted(self.path.rglob("*.json")):
            said, name = _read(path), path.relative_to(self.path).with_suffix("")
            hidden = any(part.startswith(".") for part in name.parts)
            if said and not hidden and path.with_name(f"{name.name}.nii.gz").is_file():
                same = is_same(said.get("origin"), origin)
                lines += table_rows(name.as_posix(), said["structures"]) if same else ()
                others += () if same else (name.as_posix(),)
        if others:
            logger.warning(
                "volumes.csv leaves out %d results of another model or other options that lie in %s, such as %s; "
                "predict them again, or choose another folder",
                len(others),
                self.path,
                others[0],
            )
        (self.path / "volumes.csv").unlink(missing_ok=True)  # of an earlier run
        if lines:
            text, columns = io.StringIO(), dict.fromkeys(column for line in lines for column in line)
            writer = csv.DictWriter(text, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows({key: csv_cell(value) for key, value in line.items()} for line in lines)
            write_text(self.path / "volumes.csv", text.getvalue())

    def _file(self, scan: Input, ending: str) -> Path:
        return self.path / f"{scan.name}{ending}"

    def _write_dicom_seg(self, scan: Input, predicted: Predicted) -> ValueError | None:
        """Why there is none, for a DICOM series that cannot be referred to."""
        from densevit.volumes.formats.dicom_seg import write_dicom_seg

        if predicted.opened.source is None:
            logger.warning("%s is no DICOM series, so that no DICOM-SEG is written for it", scan.path)
            return None
        options = dict(classes=self.classes, values=self.values.tolist(), palette=structure_colors(len(self.classes)))
        path = self._file(scan, ".dcm")
        try:
            write_dicom_seg(predicted.label, predicted.opened, path, **options)
        except ValueError as error:
            path.unlink(missing_ok=True)  # of an earlier run
            return error
        return None


def _read(path: Path) -> dict[str, Any]:
    """A file of statistics; empty where there is none, or a JSON file that something else has put beside a mask."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    structures = said.get("structures") if isinstance(said, dict) and "seconds" in said else None
    ours = isinstance(structures, dict) and all(isinstance(each, dict) for each in structures.values())
    return said if ours else {}


Row = tuple[int, str, tuple[int, int, int]]


def slicer_table(rows: Sequence[Row]) -> str:
    """A colour table of 3D Slicer: value, name without spaces, red, green, blue, opacity."""
    lines = [
        f"{value} {'_'.join(label_name(name).split()) or '_'} {r} {g} {b} {255 if value else 0}\n"
        for value, name, (r, g, b) in rows
    ]
    return "".join(["# Color table file\n", f"# {len(rows)} values\n", *lines])


def itk_snap_table(rows: Sequence[Row]) -> str:
    """A label description of ITK-SNAP: value, red, green, blue, opacity, visible, in 3D, name."""
    quoted = [(value, label_name(name), color) for value, name, color in rows]
    return "".join(
        f'{value} {r} {g} {b} {int(value > 0)} {int(value > 0)} {int(value > 0)} "{name}"\n'
        for value, name, (r, g, b) in quoted
    )
