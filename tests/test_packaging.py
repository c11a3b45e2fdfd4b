"""What is installed, with which versions, and the set-up that does it."""

import os
import subprocess
import sys
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import densevit
from tools import _venv

REPOSITORY = Path(__file__).parents[1]
SETUP = ConfigParser()
SETUP.read(REPOSITORY / "setup.cfg")
EXTRAS = SETUP["options.extras_require"]
CONSTRAINTS = (REPOSITORY / "tools" / "constraints.txt").read_text()
PINS = [Requirement(line) for line in CONSTRAINTS.splitlines() if not line.startswith("#")]
VERSIONS = {pin.name: next(iter(pin.specifier)).version for pin in PINS}
INSTALLED_BY_THE_COMMANDS = ["train", "mmseg", "report", "test"]


def requirements(*extras: str) -> list[Requirement]:
    lines = SETUP["options"]["install_requires"].splitlines()
    for extra in extras:
        lines += EXTRAS[extra].splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("densevit[")]


@pytest.mark.parametrize("requirement", requirements(*INSTALLED_BY_THE_COMMANDS), ids=str)
def test_each_requirement_has_a_tested_version_that_satisfies_it(requirement):
    version = VERSIONS[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version), f"tested with {requirement.name} {version}"


def test_each_constraint_is_one_exact_version():
    assert [str(pin) for pin in PINS if [s.operator for s in pin.specifier] != ["=="]] == []
    assert len(VERSIONS) == len(PINS), "a name stands twice"


@pytest.mark.parametrize("line", [line for extra in EXTRAS.values() for line in extra.split() if "densevit[" in line])
def test_extras_refer_to_extras_that_exist(line):
    assert Requirement(line).extras <= set(EXTRAS)


def test_the_shim_has_the_version_of_the_opencv_that_it_stands_for():
    shim = (REPOSITORY / "tools" / "opencv_shim" / "pyproject.toml").read_text()
    assert f'version = "{VERSIONS["opencv-python-headless"]}"' in shim.splitlines()


def test_one_distribution_owns_the_files_of_cv2():
    owners = [
        distribution.metadata["Name"]
        for distribution in metadata.distributions()
        if any(file.parts[0] == "cv2" for file in distribution.files or [])
    ]
    assert owners == ["opencv-python-headless"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/maps")
def test_cv2_needs_no_window_system():
    """What is not loaded now cannot be missed on a machine that lacks it."""
    code = "import cv2, pathlib; print(pathlib.Path('/proc/self/maps').read_text())"
    maps = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {Path(line.split()[-1]).name for line in maps.splitlines() if "/" in line}
    assert any("cv2" in name for name in loaded)
    assert [name for name in sorted(loaded) if name.startswith(("libGL", "libX11", "libxcb", "libQt", "libgtk"))] == []


def test_the_readme_the_ci_and_the_contributing_page_name_the_same_test_command():
    command = "python tools/run_tests.py"
    assert (REPOSITORY / ".ci" / "run").read_text().splitlines()[-1] == command
    assert f"\n{command}" in (REPOSITORY / "README.md").read_text()
    assert f"\n{command}" in (REPOSITORY / "CONTRIBUTING.md").read_text()


def test_the_changelog_knows_the_version():
    assert f"\n## {densevit.__version__} " in (REPOSITORY / "CHANGELOG.md").read_text()


def test_what_an_environment_holds_takes_the_place_of_the_tested_version():
    lines = _venv.keep_installed(
        "# comment\npytest==0.0.1\nno-such-thing==1.0; python_version >= '3.11'\n"
    ).splitlines()
    assert lines == ["# comment", f"pytest=={pytest.__version__}", "no-such-thing==1.0; python_version >= '3.11'"]


def test_a_failing_step_shows_the_end_of_its_words_and_where_the_rest_is(tmp_path):
    log = tmp_path / "log"
    code = "for i in range(100): print('line', i)\nraise SystemExit(3)"
    with pytest.raises(SystemExit) as stopped:
        _venv.run_quietly("[2/4] torch", [sys.executable, "-c", code], log=log)
    message = str(stopped.value)
    assert message.startswith("line 85\n")
    assert message.endswith(
        f"[2/4] torch failed: the lines above are the end of {log}; mend that and run the command again."
    )


def test_a_changed_constraint_asks_for_a_new_installation(tmp_path):
    assert _venv.CONSTRAINTS in _venv.WHAT_COUNTS
    file = tmp_path / "constraints.txt"
    file.write_text("torch==2.13.0")
    first = _venv.installation_key([file])
    assert _venv.installation_key([file]) == first
    file.write_text("torch==2.13.1")
    assert _venv.installation_key([file]) != first


def test_an_environment_that_is_up_to_date_is_entered_without_installing(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("PATH", os.environ["PATH"])  # put back afterwards
    (tmp_path / "densevit-setup.json").write_text(f'{{"test": "{_venv.installation_key()}"}}')
    _venv.enter("test", no_venv=True, install=lambda *args, **options: pytest.fail("installed again"))


def test_what_is_started_as_python_is_the_python_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("PATH", "/elsewhere")
    _venv.enter("test", no_venv=True, install=lambda *args, **options: None)
    assert os.environ["PATH"] == os.pathsep.join([str(Path(sys.executable).parent), "/elsewhere"])


def test_an_interrupted_installation_is_done_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("PATH", os.environ["PATH"])  # put back afterwards
    calls = []

    def install(*args, **options):
        calls.append(args)
        if len(calls) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _venv.enter("test", no_venv=True, install=install)
    _venv.enter("test", no_venv=True, install=install)
    _venv.enter("test", no_venv=True, install=install)
    assert len(calls) == 2


def test_an_old_python_is_told_what_is_needed():
    with pytest.raises(SystemExit, match=r"densevit needs Python 3\.10 or newer, this is 3\.9\.2;"):
        _venv.check_python((3, 9, 2, "final", 0))
