"""The model table: its page is up to date, and its errors are those that parity tests found."""

import json
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

PARITY_TESTS = """
import pytest, torch, densevit
from tools.peers.common import largest_difference
from tools.peers import import_peer

pytestmark = pytest.mark.parity

@pytest.fixture(scope="module", params=["mit_b0", "mit_b1"])
def pair(request):
    return "theirs", densevit.create_backbone(request.param)

@pytest.mark.parametrize("error", [2**-10, 2**-9])
def test_maps_equal_those_of_timm(pair, error):
    assert largest_difference(torch.full((2,), 4 - error), torch.full((2,), 4.0)) <= 1

def test_double_maps_equal_those_of_timm(pair):
    assert largest_difference(torch.zeros(2).double(), torch.ones(2).double()) <= 1

def test_a_wrong_order_gives_other_maps(pair):
    assert largest_difference(torch.zeros(2), torch.ones(2)) > 0.1

def test_a_smaller_model_is_equal():
    import_peer("torch")
    densevit.create_segmentor("vit_tiny", "all_mlp", num_classes=2, backbone_options=dict(depth=4))
    assert largest_difference(torch.zeros(2), torch.zeros(2)) == 0
"""


def run_with_tools(code, *arguments):
    """Run Python that can import the tools; returns the finished process."""
    paths = f"import sys; sys.path[:0] = [{str(REPOSITORY)!r}, {str(REPOSITORY / 'tools')!r}]\n"
    command = [sys.executable, "-c", paths + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)


def recorded(tmp_path, text):
    tests, result = tmp_path / "test_recorded.py", tmp_path / "result.json"
    tests.write_text(text)
    code = (
        "import json\nfrom pathlib import Path\nfrom benchmarks import parity\n"
        "parity.PACKAGES |= {'timm': 'torch', 'torch': 'torch'}\n"  # any installed package will do
        "Path(sys.argv[2]).write_text(json.dumps(parity.record([sys.argv[1]])))"
    )
    done = run_with_tools(code, tests, result)
    return done, json.loads(result.read_text()) if result.exists() else None


@pytest.mark.slow
def test_the_page_is_what_the_script_makes_of_the_measurements():
    """Renew it with `python tools/model_table.py` after a change to the models or their key maps."""
    code = "from benchmarks.model_table import page; sys.stdout.write(page())"
    done = run_with_tools(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (REPOSITORY / "docs" / "models.md").read_text()


def test_the_largest_error_of_what_is_held_to_be_equal_is_recorded_for_each_model(tmp_path):
    done, found = recorded(tmp_path, PARITY_TESTS)
    assert found is not None, done.stdout + done.stderr
    assert set(found) == {"mit_b0", "mit_b1", "vit_tiny + all_mlp"}
    for name in ("mit_b0", "mit_b1"):
        (proof,) = found[name]
        assert (proof["max_error"], proof["relative_error"], proof["comparisons"]) == (2**-9, 2**-11, 2)
    (proof,) = found["vit_tiny + all_mlp"]
    assert proof["max_error"] == 0
    assert proof["reference"].endswith(", with depth=4")


def test_nothing_is_recorded_when_a_test_fails(tmp_path):
    done, found = recorded(tmp_path, PARITY_TESTS.replace("<= 1\n", "<= 1e-5\n"))
    assert found is None
    assert "nothing was written down" in done.stderr
