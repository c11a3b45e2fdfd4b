"""What docs/tour.md and docs/add_a_backbone.md promise beyond code that runs."""

from pathlib import Path

import torch

from densevit import create_segmentor
from tests.test_docs import python_blocks

DOCS = Path(__file__).parents[1] / "docs"


def test_a_backbone_is_added_in_at_most_40_lines():
    _, definition = python_blocks(DOCS / "add_a_backbone.md")[0]
    assert "register_backbone" in definition
    assert len(definition.splitlines()) <= 40


def test_the_tours_diagram_is_what_a_real_run_gives():
    shown = (DOCS / "tour.md").read_text().split("```text\n")[1].split("\n```")[0]
    assert shown == draw_shapes(), f"docs/tour.md should show\n{draw_shapes()}"


# The tour's picture of a model; each line that names one of these gets the shape that the part returns.
DRAWING = """
image
  |
backbone
  stage 0   stride 4  ------------+
  stage 1   stride 8  ----------+ |
  stage 2   stride 16 --------+ | |
  stage 3   stride 32 ------+ | | |
                            v v v v
decoder   project, resize, sum, norm
  |
head      1 x 1 convolution
  |
logits    resize
"""


def draw_shapes():
    """DRAWING beside the shapes without batch, measured, for a picture and for a volume."""
    runs = [run_shapes((3, 512, 1024)), run_shapes((1, 96, 128, 128))]
    lines = [("(C, *S)".rjust(36), "2D: a picture", "3D: a volume")]
    for line in DRAWING.strip("\n").splitlines():
        part = " ".join(line.split()[:2]) if "stage" in line else line.partition("  ")[0]
        lines.append((line, *(" x ".join(map(str, run.get(part, ()))) for run in runs)))
    return "\n".join(f"{line:38}{flat:20}{deep}".rstrip() for line, flat, deep in lines)


def run_shapes(image_shape):
    """{part: shape without batch} of SegFormer-B0 on one image, on the meta device."""
    with torch.device("meta"):
        image = torch.empty(1, *image_shape)
        model = create_segmentor(
            "mit_b0", "all_mlp", num_classes=19, spatial_dims=image.ndim - 2, in_channels=image.shape[1]
        )
        features = model.forward_features(image)
        decoded = model.decoder(features).values
        parts = {"image": image, "decoder": decoded, "head": model.head(decoded), "logits": model(image)}
    parts |= {f"stage {i}": feature for i, feature in enumerate(features)}
    return {part: tuple(tensor.shape[1:]) for part, tensor in parts.items()}
