"""The `densevit` command: one module a verb, as `main.COMMANDS` lists them. Heavy imports are inside the commands."""

import sys

try:
    from densevit.cli.main import main
except KeyboardInterrupt:  # while the command is being imported there is nothing else that could say it
    sys.stderr.write("densevit: interrupted\n")
    raise SystemExit(130) from None
