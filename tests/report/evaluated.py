"""Small sets whose evaluation makes a page: pictures and names of an attacker, and a scan."""

import json

import nibabel
import numpy as np
from PIL import Image

from densevit.cli import main

SCRIPT, IMAGE = "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'


def streets(folder):
    """Six pictures of two classes, of which one prediction is missing and one is worse than the others."""
    for name in ("truth", "good", "poor", "images"):
        (folder / name).mkdir()
    (folder / "truth" / "classes.json").write_text(json.dumps({"road": 0, SCRIPT: 1}))
    for i, name in enumerate([IMAGE, *"abcde"]):
        label = np.zeros((40, 60), np.uint8)
        label[10:30, 10:40] = 1
        Image.fromarray(label).save(folder / "truth" / f"{name}.png")
        Image.fromarray(np.dstack([label * 100 + 50] * 3)).save(folder / "images" / f"{name}.jpg")
        Image.fromarray(np.roll(label, 8 if i == 0 else 1, 1)).save(folder / "good" / f"{name}.png")
        Image.fromarray(np.roll(label, 9, 1)).save(folder / "poor" / f"{name}.png")
    (folder / "good" / "e.png").unlink()
    (folder / "table.csv").write_text(
        "case,town\n"
        + "".join(f'"{name}",{i % 2}\n' for i, name in enumerate(['""><img src=x onerror=alert(1)>', *"abcde"]))
    )
    return folder


def scans(folder, labels):
    label = np.zeros((20, 24, 16), np.uint8)
    label[4:12, 4:12, 4:12] = 1
    for name, content in (("truth", label), ("predicted", np.where(np.indices(label.shape)[2] > 8, 0, label))):
        (folder / name).mkdir()
        nibabel.save(nibabel.Nifti1Image(content.astype(np.uint8), np.diag([1, 1, 3, 1])), folder / name / "a.nii.gz")
    (folder / "truth" / "dataset.json").write_text(json.dumps({"labels": labels}))
    return folder


def write_page(folder, *words, predicted="good"):
    out = folder / "page.html"
    named = [str(folder / predicted), str(folder / "truth")]
    assert main(["evaluate", *named, "--report", str(out), "--workers", "0", "--quiet", *map(str, words)]) == 0
    return out
