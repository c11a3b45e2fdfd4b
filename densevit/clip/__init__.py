"""CLIP: images and texts in one space, classes by their names. https://arxiv.org/abs/2103.00020"""

from densevit.clip.model import Clip, create_clip
from densevit.clip.text import TextEncoder
