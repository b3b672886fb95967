"""What needs MMSegmentation: importing this registers it beside the plugin. Configs import it, `convnext_dense` does not."""

from convnext_dense.segmentation.folder_dataset import FolderDataset, LoadFolderAnnotations
from convnext_dense.segmentation.segmentor import LeanEncoderDecoder
from convnext_dense.segmentation.strip_loss import FastFCNHead
from convnext_dense.segmentation.uper_head import FastUPerHead

__all__ = ['FastFCNHead', 'FastUPerHead', 'FolderDataset', 'LeanEncoderDecoder', 'LoadFolderAnnotations']
