"""Files and functions of densevit that a command enters, as a measure of how much one must read to follow it.

A function counts once, however often it runs, in whichever thread; what runs only because a module is imported (module
and class bodies, and the functions that they call), lambdas and comprehensions do not count. Work that loaders do in
processes of their own is not seen, so the traced training run has none. With `--package DIR` another checkout
is traced.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import redirect_stderr, redirect_stdout
from inspect import CO_NEWLOCALS
from io import StringIO
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

REPOSITORY = Path(__file__).parents[2]
RUNS = ("train", "predict")
CONFIG = """\
model = dict(
    backbone="mit_b0", decoder="all_mlp", num_classes={classes}, spatial_dims={rank}, in_channels={channels},
    decoder_options=dict(dim=8),
)
loss = dict(type="cross_entropy")
optimizer = dict(lr=1e-3)
schedule = dict(type="poly")
train_cfg = dict(max_iters=2, val_interval=2, checkpoint_interval=2, log_interval=1)
data = dict(type="{layout}", root={root!r})
train_data = dict(dataset=dict(data, split="train"), augment=dict(crop_size={crop}), batch_size=2, num_workers=0)
val_data = dict(dataset=dict(data, split="val"), num_workers=0)
del data
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `trace`."""
    parser.add_argument("runs", nargs="*", metavar="RUN", help="train (pictures), predict (a scan); default both")
    parser.add_argument("--package", type=Path, default=REPOSITORY, metavar="DIR", help="checkout to trace")
    parser.add_argument("--list", action="store_true", help="name every function")


def run(arguments: argparse.Namespace) -> int:
    """Trace each run in a process of its own and print what it entered."""
    for name in arguments.runs or RUNS:
        if name not in RUNS:
            raise SystemExit(f"no run named {name!r}; known: {', '.join(RUNS)}")
        entered = trace(name, arguments.package)
        print(f"{name}: {len({file for file, _ in entered})} files, {len(entered)} functions")
        if arguments.list:
            print("\n".join(f"  {file}: {function}" for file, function in entered))
    return 0


def trace(name: str, package: Path = REPOSITORY) -> list[tuple[str, str]]:
    """(file, function) of all that one run enters, sorted."""
    command = [sys.executable, __file__, name, str(package)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=package, env=os.environ | {"PYTHONPATH": str(package)}
    )
    if done.returncode:
        raise RuntimeError(f"the traced run failed: {done.stderr.strip()[-2000:]}")
    return sorted(map(tuple, json.loads(done.stdout.splitlines()[-1])))


class Trace:
    """The code of functions that lie in one folder, as they are entered."""

    def __init__(self, folder: Path):
        self.folder = f"{folder}/"
        self.codes: set[CodeType] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event != "call" or code in self.codes or not code.co_flags & CO_NEWLOCALS:
            return
        if code.co_filename.startswith(self.folder) and not self._is_of_an_import(frame):
            self.codes.add(code)

    def _is_of_an_import(self, frame: FrameType) -> bool:
        """Whether the body of a module of the folder called it, directly or not."""
        while frame := frame.f_back:
            if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(self.folder):
                return True
        return False

    def names(self) -> list[tuple[str, str]]:
        return [
            (code.co_filename.removeprefix(self.folder), code.co_qualname)
            for code in self.codes
            if not code.co_name.startswith("<")
        ]


def traced_command(package: Path, arguments: list[str]) -> list[tuple[str, str]]:
    """What `densevit ARGUMENTS` enters in this process."""
    from densevit.cli.main import main

    trace, said = Trace(package / "densevit"), StringIO()
    threading.setprofile(trace)
    sys.setprofile(trace)
    try:
        with redirect_stdout(said), redirect_stderr(said):
            status = main(arguments)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    if status:
        raise SystemExit(said.getvalue())
    return trace.names()


def pictures(folder: Path) -> Path:
    """A config of two tiny pictures to train on, and one to validate on."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 1)):
        for kind, shape, most in (("images", (32, 48, 3), 256), ("labels", (32, 48), 3)):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, most, shape, np.uint8)).save(folder / kind / split / f"{i}.png")
    (folder / "classes.txt").write_text("road\ncar\ntree\n")
    return write_config(folder, layout="folder", classes=3, rank=2, channels=3, crop=(32, 32))


def volumes(folder: Path) -> Path:
    """A config of two tiny volumes to train on, and one to validate on."""
    import nibabel
    import numpy as np

    rng = np.random.default_rng(0)
    for kind, most in (("images", 1000), ("labels", 2)):
        (folder / kind).mkdir(parents=True)
        for i in range(3):
            values = rng.integers(0, most, (24, 20, 16)).astype(np.int16)
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / kind / f"case_{i}.nii.gz")
    config = write_config(folder, layout="volume_folder", classes=2, rank=3, channels=1, crop=(16, 16, 16))
    extra = 'images="images/*.nii.gz", labels="labels/*.nii.gz", classes=dict(background=0, organ=1), val_every=3)'
    config.write_text(config.read_text().replace(f"root={str(folder)!r})", f"root={str(folder)!r}, {extra}"))
    return config


def write_config(folder: Path, **values: Any) -> Path:
    """The config of one tiny run."""
    path = folder / "config.py"
    path.write_text(CONFIG.format(root=str(folder), **values))
    return path


def main() -> None:
    """In the traced process: make the files, run, print what was entered as JSON."""
    name, package = sys.argv[1], Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as made:
        folder, out = Path(made), Path(made) / "run"
        train = ["train", str((pictures if name == "train" else volumes)(folder / "set")), "--work-dir", str(out)]
        if name == "train":
            entered = traced_command(package, train)
        else:
            subprocess.run([sys.executable, "-m", "densevit", *train], check=True, capture_output=True, cwd=package)
            scan = folder / "set" / "images" / "case_0.nii.gz"
            weights = str(out / "best" / "weights.safetensors")
            entered = traced_command(package, ["predict", weights, str(scan), "-o", str(folder / "masks")])
    print(json.dumps(entered))


if __name__ == "__main__":
    main()
