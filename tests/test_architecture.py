"""The shape of the project: who may import whom, which framework lives where, and what an import costs."""

import ast
import re
import subprocess
import sys
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "densevit"
LAYERS = [
    "quoting",
    "registry labels sides",
    "files imports options processes tables progress environment texts workers",
    "blocks normalization",
    "backbones decoders",
    "weights",
    "segmentor",
    "classifier",
    "clip",
    "inference losses metrics macs",
    "pictures volumes",
    "checkpoint",
    "data",
    "synthetic",
    "predictor",
    "evaluate runs",
    "report",
    "sharing",
    "doctor",
    "export train",
    "analyze",
    "quickstart integrations",
    "cli",
    "__main__",
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names.split()}
# Framework -> the files or rooms that may import it, as paths inside the package without ".py".
EDGES = {
    "mmengine": ["train", "quickstart"],
    "mmseg": ["integrations"],
    "mmcv": ["integrations"],
    "monai": ["data/augment/monai_intensity", "integrations"],
    "dynamic_network_architectures": ["integrations"],
    "zarr": ["inference/output"],
    "albumentations": ["data/augment"],
    "cv2": ["data", "pictures", "synthetic"],
    "nibabel": ["volumes", "synthetic/ct", "integrations/monai/transforms"],
    "pydicom": ["volumes"],
    "highdicom": ["volumes"],
    "PIL": ["data", "pictures", "synthetic", "predictor", "report"],
    "matplotlib": ["report"],
    "jinja2": ["report"],
    "scipy": ["evaluate", "metrics", "predictor/structures", "report/planes", "volumes"],
    "huggingface_hub": ["weights/hub", "integrations/transformers/networks"],
    "safetensors": ["data/case_cache", "weights", "checkpoint"],
    "tensorboard": ["train", "report/board"],
    "tokenizers": ["clip/tokenizer"],
    "timm": [],
    "transformers": ["integrations/transformers"],
    "segmentation_models_pytorch": ["integrations/smp"],
    "torchvision": [],
    "einops": [],
}
# Where pictures, volumes and the tensors of checkpoints come in and go out, and the one module of all that depends on
# the number of dimensions.
KNOW_THE_RANK = [
    "blocks/nd",
    "pictures",
    "volumes",
    "report",
    "weights/operations",
    "weights/adapt",
    "weights/fit_tables",
    "predictor/pictures",
    "predictor/scans",
    "integrations/monai/transforms",
]
FORM = re.compile(
    r"(Conv|ConvTranspose|BatchNorm|InstanceNorm|Dropout|(Adaptive)?(Avg|Max)Pool|conv|conv_transpose)[23]d"
)
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]
SETUP_COMMANDS = ["_venv", "quickstart", "run_tests"]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


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
    for name in imports(parsed(path)):
        imported = room_of(name)
        if imported not in (None, room):
            assert imported in RANK, f"{name} is no room of densevit"
            assert RANK[imported] < RANK[room], f"{room} may not import {imported}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_frameworks_stay_at_their_edge(path):
    place = path.relative_to(PACKAGE).with_suffix("").as_posix()
    for name in imports(parsed(path)):
        homes = EDGES.get(name.split(".")[0], [place])
        assert any(place == home or place.startswith(f"{home}/") for home in homes), f"{place} may not import {name}"


def asks_for_the_rank(tree: ast.AST) -> list[str]:
    """Modules that have a 2D and a 3D form, and comparisons of a rank with a number, such as `x.ndim == 3`."""
    found = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and FORM.fullmatch(node.attr)]
    for node in ast.walk(tree):
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        named = [getattr(side, "attr", getattr(side, "id", None)) for side in sides]
        called = [ast.unparse(side) for side in sides if isinstance(side, ast.Call)]
        ranks = [
            text for text in called if text.endswith(".dim()") or (text[:4] == "len(" and text.endswith(".shape)"))
        ]
        numbers = [x.value for side in sides for x in getattr(side, "elts", [side]) if isinstance(x, ast.Constant)]
        if ({"ndim", "spatial_dims"} & set(named) or ranks) and {2, 3, 4, 5} & set(numbers):
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        ("x.ndim == 3", True),
        ("2 == self.spatial_dims", True),
        ("spatial_dims in (2, 3)", True),
        ("x.dim() > 4", True),
        ("len(x.shape) == 4", True),
        ("isinstance(x, nn.Conv3d)", True),
        ("x.ndim != self.spatial_dims + 2", False),
        ("a.ndim == b.ndim", False),
        ("len(names) == 3", False),
    ],
)
def test_what_asking_for_the_rank_is(code, asked):
    assert bool(asks_for_the_rank(ast.parse(code))) is asked


def test_only_nd_readers_and_writers_ask_for_the_rank():
    found = {}
    for path in MODULES:
        place = path.relative_to(PACKAGE).with_suffix("").as_posix()
        if not any(place == home or place.startswith(f"{home}/") for home in KNOW_THE_RANK):
            found[place] = asks_for_the_rank(parsed(path))
    assert {place: asked for place, asked in found.items() if asked} == {}


def test_attention_is_computed_in_one_place_where_it_can_be_recorded():
    """A block has a `densevit.blocks.attention.Attend`, which `densevit analyze` looks into."""
    calls = [path for path in MODULES if "scaled_dot_product_attention(" in path.read_text()]
    assert calls == [PACKAGE / "blocks" / "attention.py"]


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
    """A family of backbones is a file of its own, and costs no more: these are not counted."""
    code = (
        "import sys, torch, torch.utils.checkpoint\nbefore = set(sys.modules)\n"
        "import densevit\ndensevit.create_segmentor\nnew = set(sys.modules) - before\n"
        "print(sum(not name.startswith('densevit.backbones.') for name in new))"
    )
    assert int(run_python(code)) < 80
