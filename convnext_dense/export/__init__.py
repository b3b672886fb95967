"""Inference modules for export, of operators that every runtime has, for pictures of any size."""
