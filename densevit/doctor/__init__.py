"""What is wrong with a data set, what it is like, and a config that would train on it."""
