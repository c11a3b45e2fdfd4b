"""Make the environment, check the style, run all tests: `python tools/run_tests.py [pytest arguments]`."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import _venv

ROOT = Path(__file__).resolve().parents[1]
CODE = ["densevit", "tests", "tools", "configs"]


def main() -> int:
    """Run all checks, also after one has failed; the exit status is 1 when any did."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="All other arguments go to pytest: -k, -x, a file, ..."
    )
    _venv.add_argument(parser)
    options, pytest_arguments = parser.parse_known_args()
    _venv.enter("test", no_venv=options.no_venv)
    from densevit.environment import let_threads_sleep

    let_threads_sleep()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # a worker is one thread
    workers = min(max(os.cpu_count() or 2, 2), 8)
    commands = {
        "style": ["ruff", "check", *CODE],
        "format": ["ruff", "format", "--check", *CODE],
        "tests": ["pytest", "-n", str(workers), "--dist", "worksteal", *pytest_arguments],
    }
    failed = []
    for name, command in commands.items():
        print(f"-- {name}: {' '.join(command)}", flush=True)
        if subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environment).returncode:
            failed.append(name)
    print(f"-- failed: {', '.join(failed)}" if failed else "-- all passed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
