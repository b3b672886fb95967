"""What needs MMSegmentation: importing this registers it beside the plugin. Configs import it, `convnext_dense` does not."""

from convnext_dense.models.pixel_loss import FastFCNHead
from convnext_dense.models.segmentor import LeanEncoderDecoder
from convnext_dense.models.uper_head import FastUPerHead

__all__ = ['FastFCNHead', 'FastUPerHead', 'LeanEncoderDecoder']
