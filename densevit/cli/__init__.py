"""The `densevit` command: train, test, predict, models, fingerprint, export. Heavy imports are inside the commands."""

from densevit.cli.main import main
