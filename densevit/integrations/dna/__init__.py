"""nnU-Net's networks by name, from the package dynamic_network_architectures: docs/nnunet_networks.md.

`create_segmentor("dna.ResEncUNet", None, ...)` imports `networks` by itself.
"""
