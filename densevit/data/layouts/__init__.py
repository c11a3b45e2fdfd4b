"""How sets lie on disk: one file a layout, and what they share."""
