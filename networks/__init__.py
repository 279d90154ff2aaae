"""Networks of the papers that MONAI lacks: tensors in, logits out."""

from __future__ import annotations

from tinylesions.networks.checkpoints import load_checkpoint
from tinylesions.networks.red_seg import RedSeg
from tinylesions.networks.vgg import VGG16
from tinylesions.networks.vgg_unet import VGG16UNet
from tinylesions.networks.vgg_unet_plus_plus import VGG16UNetPlusPlus
from tinylesions.networks.vgg_weights import load_vgg16_weights

__all__ = ["VGG16", "RedSeg", "VGG16UNet", "VGG16UNetPlusPlus", "load_checkpoint", "load_vgg16_weights"]
