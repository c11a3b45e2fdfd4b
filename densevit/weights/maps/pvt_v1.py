"""Key maps of PVT v1.

The class token and its row of the last stage's table are in every release; a model for dense prediction lacks them.
"""

from densevit.weights.maps import segformer
from densevit.weights.maps.heads import IGNORED, MMSEG_FPN
from densevit.weights.maps.source import Source, names_like

OFFICIAL_BACKBONE = (
    ("pos_embed{i+1}!", "stages.{i}.downsample.position.pos_embed!"),
    ("cls_token!", "stages.3.downsample.position.tokens.cls_token!"),
    *segformer.OFFICIAL_BACKBONE,  # the names of its successors
)
HUGGINGFACE_BACKBONE = (
    ("encoder.patch_embeddings.{i}.projection", "stages.{i}.downsample.proj"),
    ("encoder.patch_embeddings.{i}.position_embeddings!", "stages.{i}.downsample.position.pos_embed!"),
    ("encoder.patch_embeddings.{i}.cls_token!", "stages.{i}.downsample.position.tokens.cls_token!"),
    ("encoder.block.{i}.{j}.attention.self.sequence_reduction", "stages.{i}.blocks.{j}.attn.sr.conv"),
    *segformer.HUGGINGFACE_BACKBONE,
)
ABSENT = (r"backbone\.stages\.3\.downsample\.position\.tokens\.",)

# Searched in this order when the source is to be guessed.
SOURCES = {
    "whai362_pvt_v1": Source(
        title="PVT v1 as its authors released it (pvt_small.pth)",
        family="pvt_v1",
        is_it=names_like(r"(backbone\.)?pos_embed1$"),
        prefix="backbone.",
        backbone=OFFICIAL_BACKBONE,
        decoder=MMSEG_FPN,
        ignored=(r"norm\.", r"head\.", *IGNORED),
        absent=ABSENT,
    ),
    "huggingface_pvt_v1": Source(
        title="PVT v1 of transformers (model.safetensors)",
        family="pvt_v1",
        is_it=names_like(r"(pvt\.)?encoder\.patch_embeddings\.0\.projection\."),
        prefix="pvt.",
        backbone=HUGGINGFACE_BACKBONE,
        ignored=(r"encoder\.layer_norm\.", r"classifier\."),
        absent=ABSENT,
    ),
}
