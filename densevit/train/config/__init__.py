"""Config files: reading, checking and overriding them."""
