"""Networks for semantic segmentation of transformers by name: docs/whole_networks.md.

`create_segmentor("transformers.UperNetForSemanticSegmentation", None, ...)` imports `networks` by itself.
"""
