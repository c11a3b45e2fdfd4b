"""MONAI, both ways (docs/monai.md): its networks by name in ours; our losses, metrics and scans in its scripts.

`create_segmentor("monai.SegResNet", None, ...)` imports `networks` by itself; the others are imported by their names.
"""
