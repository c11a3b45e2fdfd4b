"""MONAI's networks by name in densevit, and our losses, metrics, readers and inferers in MONAI's scripts.

`create_segmentor("monai.SegResNet", None, ...)` imports `networks` by itself; import the other modules by their names.
docs/monai.md shows both directions.
"""
