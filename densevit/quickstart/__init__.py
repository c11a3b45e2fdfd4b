"""The two quickstarts, and the baseline that looks at places alone."""
