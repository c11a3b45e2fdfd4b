"""Small folders of nnU-Net's results, with its true names of files, keys and parameters, and random weights."""

import json
from copy import deepcopy

import numpy as np
import torch

from tools.peers import import_peer

STAGES = 3
KERNELS = [[1, 3, 3], [3, 3, 3], [3, 3, 3]]
STRIDES = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]


def architecture(rank=3, *, residual=False):
    """As planners write it since 2024."""
    conv, norm = f"torch.nn.modules.conv.Conv{rank}d", f"torch.nn.modules.instancenorm.InstanceNorm{rank}d"
    kwargs = dict(
        n_stages=STAGES,
        features_per_stage=[8, 12, 16],
        conv_op=conv,
        kernel_sizes=[size[-rank:] for size in KERNELS],
        strides=[size[-rank:] for size in STRIDES],
        conv_bias=True,
        norm_op=norm,
        norm_op_kwargs=dict(eps=1e-5, affine=True),
        dropout_op=None,
        dropout_op_kwargs=None,
        nonlin="torch.nn.LeakyReLU",
        nonlin_kwargs=dict(inplace=True),
    )
    if residual:
        kwargs |= dict(n_blocks_per_stage=[1, 2, 2], n_conv_per_stage_decoder=[1, 1])
    else:
        kwargs |= dict(n_conv_per_stage=[2, 2, 2], n_conv_per_stage_decoder=[2, 2])
    name = "ResidualEncoderUNet" if residual else "PlainConvUNet"
    return dict(
        network_class_name=f"dynamic_network_architectures.architectures.unet.{name}",
        arch_kwargs=kwargs,
        _kw_requires_import=["conv_op", "norm_op", "dropout_op", "nonlin"],
    )


def old_style(rank=3):
    """The same network as plans of 2023 say it, TotalSegmentator's among them."""
    return dict(
        UNet_class_name="PlainConvUNet",
        UNet_base_num_features=8,
        unet_max_num_features=12,
        n_conv_per_stage_encoder=[2, 2, 2],
        n_conv_per_stage_decoder=[2, 2],
        num_pool_per_axis=[1, 2, 2][-rank:],
        conv_kernel_sizes=[size[-rank:] for size in KERNELS],
        pool_op_kernel_sizes=[size[-rank:] for size in STRIDES],
    )


def configuration(rank=3, **changes):
    resampling = dict(order_z=0, force_separate_z=None)
    content = dict(
        data_identifier=f"nnUNetPlans_{rank}d",
        preprocessor_name="DefaultPreprocessor",
        batch_size=2,
        patch_size=[8, 24, 16][-rank:],
        median_image_size_in_voxels=[14.0, 36.0, 30.0][-rank:],
        spacing=[2.0, 1.0, 1.0][-rank:],
        normalization_schemes=["CTNormalization"],
        use_mask_for_norm=[False],
        resampling_fn_data="resample_data_or_seg_to_shape",
        resampling_fn_seg="resample_data_or_seg_to_shape",
        resampling_fn_data_kwargs=dict(is_seg=False, order=3, **resampling),
        resampling_fn_seg_kwargs=dict(is_seg=True, order=1, **resampling),
        resampling_fn_probabilities="resample_data_or_seg_to_shape",
        resampling_fn_probabilities_kwargs=dict(is_seg=False, order=1, **resampling),
        batch_dice=True,
        architecture=architecture(rank),
    )
    return {**content, **changes}


INTENSITIES = dict(
    max=900.0, mean=40.0, median=40.0, min=-800.0, percentile_00_5=-300.0, percentile_99_5=400.0, std=120.0
)


def plans(configurations, **changes):
    content = dict(
        dataset_name="Dataset004_Hippocampus",
        plans_name="nnUNetPlans",
        original_median_spacing_after_transp=[2.0, 1.0, 1.0],
        original_median_shape_after_transp=[14, 36, 30],
        image_reader_writer="SimpleITKIO",
        transpose_forward=[0, 1, 2],
        transpose_backward=[0, 1, 2],
        configurations=configurations,
        experiment_planner_used="ExperimentPlanner",
        label_manager="LabelManager",
        foreground_intensity_properties_per_channel={"0": INTENSITIES, "1": INTENSITIES},
    )
    return {**content, **changes}


DATASET = dict(
    channel_names={"0": "CT"},
    labels=dict(background=0, Anterior=1, Posterior=2),
    numTraining=2,
    file_ending=".nii.gz",
)


def write_folder(
    folder,
    plans,
    *,
    name="3d_fullres",
    dataset=DATASET,
    folds=(0,),
    mirrored=(0, 1, 2),
    states=None,
    trainer="nnUNetTrainer",
    **extra,
):
    """Write it as nnUNetv2_train leaves it; `states` are the network weights of each fold."""
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    for fold, state in zip(folds, states or [{} for _ in folds], strict=True):
        content = dict(
            network_weights=state,
            optimizer_state=dict(state={}, param_groups=[dict(lr=np.float64(0.01), params=[0])]),
            grad_scaler_state=None,
            logging=dict(train_losses=[np.float64(-0.5)], mean_fg_dice=[np.float32(0.25)], lrs=[0.01]),
            _best_ema=np.float64(0.4),
            current_epoch=1000,
            init_args=dict(
                plans=deepcopy(plans),
                configuration=name,
                fold=fold,
                dataset_json=dataset,
                unpack_dataset=True,
                device=torch.device("cuda"),
            ),
            trainer_name=trainer,
            inference_allowed_mirroring_axes=mirrored,
            **extra,
        )
        (folder / f"fold_{fold}").mkdir()
        torch.save(content, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


def states(content, *, channels=1, folds=1, outputs=3):
    """Random weights of the networks that a configuration names, by their own package, and these networks."""
    unet = import_peer("dynamic_network_architectures.architectures.unet")
    rank, architecture = len(content["patch_size"]), content["architecture"]
    kwargs = deepcopy(architecture["arch_kwargs"])
    modules = dict(conv_op=f"Conv{rank}d", norm_op=f"InstanceNorm{rank}d", nonlin="LeakyReLU")
    kwargs |= {key: getattr(torch.nn, name) for key, name in modules.items()}
    networks = []
    for fold in range(folds):
        torch.manual_seed(fold)
        network = getattr(unet, architecture["network_class_name"].rpartition(".")[2])(
            input_channels=channels, num_classes=outputs, deep_supervision=False, **kwargs
        )
        for name, parameter in network.named_parameters():
            if "seg_layers" in name or "norm" in name:
                torch.nn.init.normal_(parameter, std=0.0 if name.endswith("seg_layers.1.bias") else 1.0)
        networks.append(network.eval())
    return networks, [network.state_dict() for network in networks]
