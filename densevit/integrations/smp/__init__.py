"""Networks of segmentation_models_pytorch by name: docs/whole_networks.md.

`create_segmentor("smp.Unet", None, ...)` imports `networks` by itself.
"""
