"""The environment of the two set-up commands, made with nothing but the standard library."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "tools" / "constraints.txt"
SHIM = ROOT / "tools" / "opencv_shim"
WHAT_COUNTS = [CONSTRAINTS, ROOT / "setup.cfg", ROOT / "pyproject.toml", SHIM / "pyproject.toml", Path(__file__)]
OLDEST = (3, 10)
CUDA_HINT = (
    "pip is fetching the CUDA build of torch (gigabytes), and no NVIDIA GPU was seen. To get the CPU build, "
    "stop here and set PIP_EXTRA_INDEX_URL to the CPU index on PyTorch's 'Get started' page."
)


def add_argument(parser: argparse.ArgumentParser) -> None:
    """The option that both commands share."""
    parser.add_argument(
        "--no-venv",
        action="store_true",
        help="use the active environment instead of .venv: what is missing is added, what is there stays as it is",
    )


def installation_key(files: Sequence[Path] = WHAT_COUNTS) -> str:
    """A hash of all that decides what is installed."""
    parts = [str(ROOT).encode(), *(path.read_bytes() for path in files)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _venv_python() -> Path:
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if _has_pip(python):
        return python
    print(f"Making the environment {VENV}", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], capture_output=True, text=True)
    if made.returncode:
        sys.exit(
            f"{(made.stdout + made.stderr).strip()}\n{sys.executable} could not make {VENV}: install its venv module "
            "(Debian and Ubuntu: apt install python3-venv), or use --no-venv in an environment of your own."
        )
    return python


def _has_pip(python: Path) -> bool:
    command = [str(python), "-m", "pip", "--version"]
    return python.is_file() and subprocess.run(command, capture_output=True).returncode == 0


def install(python: Path, extras: str, *, own: bool, log: Path) -> None:
    """Install densevit[extras] in the tested versions; in an environment not our own, what is there stays as it is."""
    constraints = CONSTRAINTS
    if not own:
        constraints = log.with_name("densevit-constraints.txt")
        constraints.write_text(keep_installed(CONSTRAINTS.read_text()))
    upgrade = ["--upgrade", "pip"] if own else []
    steps = [
        ("installer", [*upgrade, "setuptools"]),
        ("torch", ["torch"]),  # before everything that depends on it, so that no other build is chosen on the way
        ("opencv", ["--no-build-isolation", str(SHIM)]),  # before everything that asks for opencv-python
        (f"densevit[{extras}]", ["--no-build-isolation", "--editable", f"{ROOT}[{extras}]"]),
    ]
    if not own and _installed_version("opencv-python"):
        del steps[2]
    log.write_text("")
    start = time.monotonic()
    for number, (name, arguments) in enumerate(steps, 1):
        title = f"[{number}/{len(steps)}] {name}"
        command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        run_quietly(title, [*command, "--progress-bar", "off", "--constraint", str(constraints), *arguments], log=log)
    if own:
        run_quietly("check", [str(python), "-m", "pip", "check"], log=log)
    print(f"Installed in {time.monotonic() - start:.0f} s; pip's own words are in {log}", flush=True)


def check_python(version: Sequence[int]) -> None:
    """Stop with one sentence where Python is too old."""
    if tuple(version[:2]) < OLDEST:
        oldest, found = (".".join(map(str, each[:3])) for each in (OLDEST, version))
        sys.exit(f"densevit needs Python {oldest} or newer, this is {found}; name a newer one, such as python3.12.")


def enter(extras: str, *, no_venv: bool, install: Callable[..., None] = install) -> None:
    """Return once this process runs where densevit[extras] is installed; otherwise install and start anew there."""
    check_python(sys.version_info)
    python = Path(sys.executable) if no_venv else _venv_python()
    prefix = Path(sys.prefix) if no_venv else VENV
    stamp, key = prefix / "densevit-setup.json", installation_key()
    done = json.loads(stamp.read_text()) if stamp.is_file() else {}
    if done.get(extras) != key:
        install(python, extras, own=not no_venv, log=prefix / "densevit-setup.log")
        stamp.write_text(json.dumps({**done, extras: key}, indent=1))
    # What a test or a script starts as "python" is this one, as in an activated environment.
    os.environ["PATH"] = os.pathsep.join([str(python.parent), os.environ.get("PATH", "")])
    if Path(sys.prefix).resolve() != prefix.resolve():
        _start_anew(python)


def keep_installed(constraints: str) -> str:
    """The constraints, with the installed version in place of the tested one where there is one."""
    lines = []
    for line in constraints.splitlines():
        name = re.match(r"[\w.-]*", line)[0]
        version = _installed_version(name)
        lines.append(f"{name}=={version}" if version else line)
    return "\n".join(lines) + "\n"


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name) if name else None
    except metadata.PackageNotFoundError:
        return None


def run_quietly(title: str, command: list[str], *, log: Path) -> None:
    """Run a command with one moving line while it works; the end of what it said is shown only when it fails."""
    start = time.monotonic()
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        _watch(process, title, log)
    except KeyboardInterrupt:
        process.terminate()
        sys.exit("\nStopped; the same command goes on from here.")
    if process.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        sys.exit(f"{tail}\n{title} failed: the lines above are the end of {log}; mend that and run the command again.")
    print(f"{title}  {time.monotonic() - start:.0f} s", flush=True)


def _watch(process: subprocess.Popen, title: str, log: Path) -> None:
    start = time.monotonic()
    hinted = Path("/proc/driver/nvidia").exists()
    while process.poll() is None:
        activity, spoke = _activity(log)
        _show(f"{title}  {activity}  {time.monotonic() - start:.0f} s")
        if "nvidia" in spoke and not hinted:
            hinted = True
            _show("")
            print(CUDA_HINT, flush=True)
        time.sleep(0.2)
    _show("")


def _activity(log: Path) -> tuple[str, str]:
    """What pip does now, in a few words, and the last part of what it said."""
    spoke = log.read_bytes()[-4000:].decode(errors="replace")
    steps = re.findall(r"^\s*(Collecting|Downloading|Installing|Building|Preparing)\b ?(.*)$", spoke, re.MULTILINE)
    return " ".join(steps[-1])[:60] if steps else "", spoke


def _show(line: str) -> None:
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\033[K{line}")
        sys.stdout.flush()


def _start_anew(python: Path) -> None:
    command = [str(python), *sys.argv]
    if os.name == "nt":  # exec on Windows gives the prompt back before the program ends
        sys.exit(subprocess.run(command).returncode)
    os.execv(command[0], command)
