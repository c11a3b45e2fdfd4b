"""The `densevit` command: train, test, predict, models. Heavy imports happen inside the commands."""

from densevit.cli.main import main
