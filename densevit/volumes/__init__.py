"""Scan files: reading them in a standard orientation, their grids, and resampling between grids."""
