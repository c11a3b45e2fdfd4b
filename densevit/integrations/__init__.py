"""Other frameworks, both ways: our models in theirs, and their parts in ours. Each is imported by name alone."""
