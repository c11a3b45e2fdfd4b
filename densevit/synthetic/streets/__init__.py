"""Street scenes drawn with numpy and PIL, as a stand-in for Cityscapes where there is no real data."""

from densevit.synthetic.streets.render import render_street_scene
from densevit.synthetic.streets.writer import make_street_scenes

__all__ = ["make_street_scenes", "render_street_scene"]
