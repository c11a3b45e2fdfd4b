"""Picture files: reading them upright, and what the values of a label picture mean."""
