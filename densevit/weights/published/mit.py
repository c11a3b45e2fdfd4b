"""MiT and SegFormer: of NVIDIA, as segmentation_models_pytorch keeps them, and of OpenMMLab."""

from densevit.weights.published import PublishedFile, at_address, at_hub

_NVIDIA = dict(licence="NVIDIA NSCL, non-commercial")  # whatever they were trained on
_WHOLE = dict(decoder="all_mlp", score="mIoU {}, one scale")
_ADE20K = dict(**_WHOLE, num_classes=150, trained_on="ImageNet-1k, then ADE20K", short="ade20k")
_CITYSCAPES = dict(**_WHOLE, num_classes=19, trained_on="ImageNet-1k, then Cityscapes", short="cityscapes")
_TOP = (70.5, 78.7, 81.6, 83.1, 83.6, 83.8)  # % on ImageNet; mIoU on ADE20K; mIoU on Cityscapes: of the paper
_ON_ADE20K = (37.4, 42.2, 46.5, 49.4, 50.3, 51.0)
_ON_CITYSCAPES = (76.2, 78.5, 81.0, 81.7, 82.3, 82.4)
_SMP_REVISIONS = (  # that segmentation_models_pytorch 0.6 asks for
    "9ce53d104d92d75aabb00aae70677aaab67e7c84",
    "a04bf4f13a549bce677cf79b04852e7510782817",
    "868ab6f13871dcf8c3d9f90ee4519403475b65ef",
    "32558d12a65f1daa0ebcf4f4053c4285e2c1cbda",
    "3a3454e900a4b4f11dd60eeb59101a9a1a36b017",
    "ced04d96c586b6297fd59a7a1e244fc78fdb6531",
)
_OF_IMAGENET = dict(**_NVIDIA, num_classes=1000, trained_on="ImageNet-1k", short="imagenet")
SMP = tuple(
    PublishedFile(name=f"smp-hub/mit_b{i}.imagenet", backbone=f"mit_b{i}", revision=revision, **_OF_IMAGENET)
    for i, revision in enumerate(_SMP_REVISIONS)
)
NVIDIA = (
    *at_hub(
        "nvidia/mit-{}",
        ((f"mit_b{i}", f"b{i}", top) for i, top in enumerate(_TOP)),
        score="{} % top-1 on ImageNet",
        **{**_OF_IMAGENET, "short": None},
    ),
    *at_hub(
        "nvidia/segformer-{}",
        (
            (f"mit_b{i}", f"b{i}-finetuned-ade-{'640-640' if i == 5 else '512-512'}", miou)
            for i, miou in enumerate(_ON_ADE20K)
        ),
        **_NVIDIA,
        **_ADE20K,
    ),
    *at_hub(
        "nvidia/segformer-{}-finetuned-cityscapes-1024-1024",
        ((f"mit_b{i}", f"b{i}", miou) for i, miou in enumerate(_ON_CITYSCAPES)),
        **_NVIDIA,
        **_CITYSCAPES,
    ),
)
_MMSEG_ADDRESS = "https://download.openmmlab.com/mmsegmentation/v0.5/segformer/{1}/{1}_{2}.pth"


def _of_mmseg() -> tuple[PublishedFile, ...]:
    """Trained by OpenMMLab from NVIDIA's ImageNet weights; the scores are those of its own runs."""
    on_ade20k = (
        ("20210726_101530-8ffa8fda", 37.41),
        ("20210726_112106-d70e859d", 40.97),
        ("20210726_112103-cbd414ac", 45.58),
        ("20210726_081410-962b98d2", 47.82),
        ("20210728_183055-7f509d7d", 48.46),
        ("20210801_121243-41d2845b", 49.62),
    )
    on_cityscapes = (
        ("20211208_101857-e7f88502", 76.54),
        ("20211208_064213-655c7b3f", 78.56),
        ("20211207_134205-6096669a", 81.08),
        ("20211206_224823-a8f8a177", 81.94),
        ("20211207_080709-07f6c333", 81.89),
        ("20211206_072934-87a052ec", 82.25),
    )
    found = []
    for i, (ade20k, cityscapes) in enumerate(zip(on_ade20k, on_cityscapes, strict=True)):
        side, begun = 640 if i == 5 else 512, dict(started_from=f"nvidia/mit-b{i}")
        folder = f"segformer_mit-b{i}_{side}x{side}_160k_ade20k"
        name = f"segformer_mit-b{i}_8xb2-160k_ade20k-{side}x{side}"
        of_mmseg = dict(decoder_options=dict(project_norm=True), **begun)
        member = (f"mit_b{i}", (name, folder, ade20k[0]), ade20k[1])
        found += at_address(_MMSEG_ADDRESS, [member], name="{0}", **of_mmseg, **{**_ADE20K, "short": None})
        name = f"segformer_mit-b{i}_8xb1-160k_cityscapes-1024x1024"
        folder = f"segformer_mit-b{i}_8x1_1024x1024_160k_cityscapes"
        member = (f"mit_b{i}", (name, folder, cityscapes[0]), cityscapes[1])
        found += at_address(_MMSEG_ADDRESS, [member], name="{0}", **of_mmseg, **{**_CITYSCAPES, "short": None})
    return tuple(found)


MMSEG = _of_mmseg()
