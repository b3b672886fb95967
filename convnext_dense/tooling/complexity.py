"""Counting parameters and multiply-adds, and reading the published figures of a config's docstring."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config

from convnext_dense.tooling.settle import settle_norms
from convnext_dense.training.guards import build_on_meta

# The one form in which a config's docstring states them.
FIGURES = re.compile(r'(\d+)M parameters,\s+(\d+)G\s+multiply-adds at (\d+)x(\d+)')


@dataclass(frozen=True)
class Figures:
    """Published parameters in millions and multiply-adds in billions, at an input of height x width pixels."""

    params: int
    macs: int
    height: int
    width: int


def published_figures(path: Path) -> Figures | None:
    """The figures in a config's docstring; None if it states none."""
    found = FIGURES.search(ast.get_docstring(ast.parse(path.read_text())) or '')
    return Figures(*map(int, found.groups())) if found else None


def count(cfg: Config, height: int, width: int) -> tuple[int, int]:
    """Parameters and multiply-adds of a segmentor's forward pass on one image, with weights of zero.

    The auxiliary head is in the parameters and, as in the published figures, not in the multiply-adds: it does not run
    at inference.
    """
    settle_norms(cfg, processes=1)
    model = build_on_meta(cfg).to_empty(device='cpu').eval()
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data.zero_()
    analysis = FlopAnalyzer(model, torch.zeros(1, 3, height, width))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings('none')
    return sum(param.numel() for param in model.parameters()), int(analysis.total())
