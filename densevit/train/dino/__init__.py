"""Self-distillation without labels (DINO): its network and head, its loss, and signs of collapse.

https://arxiv.org/abs/2104.14294
"""
