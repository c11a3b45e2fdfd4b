"""One file a benchmark; each has `add_arguments(parser)` and `run(arguments)`."""
