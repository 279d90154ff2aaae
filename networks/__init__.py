"""Networks of the papers that MONAI lacks: tensors in, logits out."""

from __future__ import annotations

from tinylesions.networks.architectures import build_network, describe_network, find_architecture, find_choice
from tinylesions.networks.attention import (
    ATTENTIONS,
    CBAM,
    ChannelAttention,
    SelfAttention,
    SpatialAttention,
    attention_block,
)
from tinylesions.networks.checkpoints import load_checkpoint, save_half
from tinylesions.networks.deeplab import DeepLabV3Plus
from tinylesions.networks.dilated_resnet import DilatedResNet
from tinylesions.networks.efficientnet_lite import EfficientNetLiteEncoder
from tinylesions.networks.efficientnet_unet import EfficientNetUNet
from tinylesions.networks.efficientnet_weights import load_efficientnet_lite_weights
from tinylesions.networks.initial_weights import start_from
from tinylesions.networks.merged import MergedNetworks, find_checkpoints, load_checkpoints
from tinylesions.networks.red_seg import RedSeg
from tinylesions.networks.sam_adapter import SAMAdapter
from tinylesions.networks.task_fusion import DeepFusion, ShallowFusion
from tinylesions.networks.tasks import SingleTask, TaskNetwork
from tinylesions.networks.unet import UNet
from tinylesions.networks.unet_3_plus import UNet3Plus
from tinylesions.networks.unet_plus_plus import UNetPlusPlus
from tinylesions.networks.vgg import VGG16
from tinylesions.networks.vgg_classifier import VGG16Classifier
from tinylesions.networks.vgg_grading_unet import VGG16GradingUNet
from tinylesions.networks.vgg_unet import VGG16UNet
from tinylesions.networks.vgg_unet_plus_plus import VGG16UNetPlusPlus
from tinylesions.networks.vgg_weights import load_vgg16_weights

__all__ = [
    "ATTENTIONS",
    "CBAM",
    "VGG16",
    "ChannelAttention",
    "DeepFusion",
    "DeepLabV3Plus",
    "DilatedResNet",
    "EfficientNetLiteEncoder",
    "EfficientNetUNet",
    "MergedNetworks",
    "RedSeg",
    "SAMAdapter",
    "SelfAttention",
    "ShallowFusion",
    "SingleTask",
    "SpatialAttention",
    "TaskNetwork",
    "UNet",
    "UNet3Plus",
    "UNetPlusPlus",
    "VGG16Classifier",
    "VGG16GradingUNet",
    "VGG16UNet",
    "VGG16UNetPlusPlus",
    "attention_block",
    "build_network",
    "describe_network",
    "find_architecture",
    "find_checkpoints",
    "find_choice",
    "load_checkpoint",
    "load_checkpoints",
    "load_efficientnet_lite_weights",
    "load_vgg16_weights",
    "save_half",
    "start_from",
]
