"""What needs MMDetection: importing this registers it beside the plugin. Configs import it, `convnext_dense` alone does not."""

from convnext_dense.detection.channels_preprocessor import ChannelsDetDataPreprocessor
from convnext_dense.detection.coco_metric import CocoStatsMetric
from convnext_dense.detection.mask_head import PasteMaskHead
from convnext_dense.detection.rpn_head import FastRPNHead
from convnext_dense.detection.shapes_dataset import ShapesCocoDataset

__all__ = ['ChannelsDetDataPreprocessor', 'CocoStatsMetric', 'FastRPNHead', 'PasteMaskHead', 'ShapesCocoDataset']
