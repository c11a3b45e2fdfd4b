"""The shape of the project: who may import whom, which framework lives where, and what an import costs."""

import ast
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "densevit"
LAYERS = [
    "registry labels devices",
    "files options units colors processes tables progress environment quiet",
    "blocks normalization",
    "backbones decoders",
    "weights",
    "segmentor",
    "inference losses metrics macs",
    "pictures volumes",
    "checkpoint",
    "data",
    "synthetic",
    "predictor",
    "evaluate doctor report",
    "export train",
    "quickstart integrations cli",
    "__main__",
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names.split()}
# Framework -> the files or rooms that may import it, as paths inside the package without ".py".
EDGES = {
    "mmengine": ["train", "quickstart"],
    "mmseg": ["integrations"],
    "mmcv": ["integrations"],
    "monai": ["data/augment/monai_intensity", "integrations"],
    "zarr": ["inference/output"],
    "albumentations": ["data/augment"],
    "cv2": ["data", "pictures", "synthetic"],
    "nibabel": ["volumes", "synthetic/ct", "integrations/monai/axes"],
    "pydicom": ["volumes"],
    "highdicom": ["volumes"],
    "PIL": ["data", "pictures", "synthetic", "predictor", "report"],
    "matplotlib": ["report"],
    "jinja2": ["report"],
    "scipy": ["metrics/surface", "predictor/structures", "report/planes"],
    "safetensors": ["data/cache", "weights", "checkpoint"],
    "tensorboard": ["train"],
    "timm": [],
    "transformers": [],
    "segmentation_models_pytorch": [],
    "torchvision": [],
    "einops": [],
}
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]
SETUP_COMMANDS = ["_venv", "quickstart", "run_tests"]


def imports(node: ast.AST) -> list[str]:
    """Absolute names of the modules imported anywhere under a node."""
    names = []
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            names += [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: imports are written in full"
            # `from densevit import losses` imports a room; `from densevit import create_segmentor` imports segmentor
            names += (
                [f"densevit.{alias.name}" for alias in child.names] if child.module == "densevit" else [child.module]
            )
    return names


def room_of(name: str) -> str | None:
    """The room of an imported densevit module; lazily exported names count for the room they live in."""
    import densevit

    head, *rest = name.split(".")
    if head != "densevit" or not rest or rest[0].startswith("__"):
        return None
    return densevit._HOMES.get(rest[0], rest[0])


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_flow_one_way(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert room in RANK, f"give the room {room!r} its place in LAYERS"
    for name in imports(ast.parse(path.read_text())):
        imported = room_of(name)
        if imported not in (None, room):
            assert imported in RANK, f"{name} is no room of densevit"
            assert RANK[imported] < RANK[room], f"{room} may not import {imported}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_frameworks_stay_at_their_edge(path):
    place = path.relative_to(PACKAGE).with_suffix("").as_posix()
    for name in imports(ast.parse(path.read_text())):
        homes = EDGES.get(name.split(".")[0], [place])
        assert any(place == home or place.startswith(f"{home}/") for home in homes), f"{place} may not import {name}"


def test_only_nd_asks_for_the_rank():
    """Modules with a 2D and a 3D form are named in blocks/nd.py and nowhere else."""
    forms = ("Conv2d", "Conv3d", "BatchNorm2d", "BatchNorm3d", "Dropout2d", "Dropout3d")
    calls = {}
    for room in ("blocks", "backbones", "decoders", "segmentor.py"):
        target = PACKAGE / room
        for path in [target] if target.suffix else sorted(target.rglob("*.py")):
            tree = ast.parse(path.read_text())
            names = [
                n.func.attr for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
            ]
            calls[path.relative_to(PACKAGE).as_posix()] = sorted({name for name in names if name in forms})
    calls.pop("blocks/nd.py")
    assert {path: names for path, names in calls.items() if names} == {}


@pytest.mark.parametrize("command", SETUP_COMMANDS)
def test_setup_commands_start_with_the_standard_library_alone(command):
    tree = ast.parse((REPOSITORY / "tools" / f"{command}.py").read_text())
    at_start = chain.from_iterable(imports(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))
    allowed = sys.stdlib_module_names | {"_venv"}
    assert [name for name in at_start if name.split(".")[0] not in allowed] == []


def test_import_densevit_imports_no_torch():
    assert run_python("import sys, densevit; print('torch' in sys.modules)").strip() == "False"


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from densevit.cli import main\n"
        "sys.argv = ['densevit', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'mmengine', 'matplotlib', 'PIL', 'cv2', 'albumentations', 'rich'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    assert run_python(code).splitlines()[-1] == "heavy: []"


def test_a_model_costs_few_modules_beyond_torch():
    code = (
        "import sys, torch, torch.utils.checkpoint\nbefore = set(sys.modules)\n"
        "import densevit\ndensevit.create_segmentor\nprint(len(set(sys.modules) - before))"
    )
    assert int(run_python(code)) < 80
