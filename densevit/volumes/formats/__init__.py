"""File formats of scans, each read strictly: header first, then values."""
