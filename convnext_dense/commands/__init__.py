"""A file per command of `convnext-dense`, which `tools/*.py` run from a clone too: options in, lines and files out."""
