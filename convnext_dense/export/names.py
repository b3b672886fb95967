"""The names of what can be asked for, known before the libraries are imported."""

SUFFIXES = {'onnx': '.onnx', 'openvino': '.xml', 'torch-export': '.pt2', 'torchscript': '.ts'}  # of each form's file
FORM_NAMES = tuple(SUFFIXES)
EIGHT_BITS = ('onnx', 'openvino')  # forms that have files of eight bits
MASKS = ('crop', 'full')  # of a detector: as its head gives them, or pasted into the picture
