"""The table of the walk."""

from torch import nn

from convnext_dense import ARCHS
from convnext_dense.models.roadmap_steps import SIZES, STEPS, Design, design_of


def test_the_ends() -> None:
    assert design_of('original', 'tiny') == Design((3, 4, 6, 3), 64)
    assert design_of('enhanced', 'base') == Design((3, 24, 36, 3), 64)
    for size in SIZES:
        last = design_of('downsample', size)
        assert (last.depths, last.width) == (ARCHS[size].depths, ARCHS[size].dims[0])
        assert last == Design(last.depths, last.width, True, True, True, True, 7, nn.GELU, True, True, True, True)


def test_larger_kernels_are_left_again() -> None:
    kernels = [design_of(step, 'tiny').kernel for step in STEPS]
    assert kernels == [3] * 8 + [5, 7, 9, 11] + [7] * 5


def test_figures_of_the_paper() -> None:
    """Sums of tables 10 and 11, so that a changed digit shows."""
    assert len(STEPS) == 17
    sums = {size: [sum(getattr(step, size).top1 for step in STEPS.values())] for size in SIZES}
    for size in SIZES:
        sums[size].append(sum(getattr(step, size).gmacs for step in STEPS.values()))
    assert [round(value, 2) for value in (*sums['tiny'], *sums['base'])] == [1361.86, 71.61, 1393.42, 247.4]
    assert round(sum(step.tiny.deviation or 0 for step in STEPS.values()), 2) == 1.36
