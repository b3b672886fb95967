"""Inference modules that can be exported: no Python that depends on values, sizes that are fixed or symbols."""
