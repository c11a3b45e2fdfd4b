"""What a data set is like, and a config that would train on it."""
