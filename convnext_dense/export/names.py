"""The names of what can be asked for, known before the libraries are imported."""

FORM_NAMES = ('onnx', 'openvino', 'torch-export', 'torchscript')
MASKS = ('crop', 'full')  # of a detector: as its head gives them, or pasted into the picture
