"""Random values for every key of the recipes and every option of the tools: a clear line, or a run that is right.

The same cases at each run. `make fuzz` tries hundreds.
"""

import os
import sys

import pytest
from fuzz import Case, Outcome, Tools, cases, hunt, import_all

CASES = int(os.environ.get('CONVNEXT_DENSE_FUZZ_CASES', 8))


@pytest.fixture(scope='module')
def tools(tmp_path_factory) -> Tools:
    import_all()
    return Tools(tmp_path_factory.mktemp('fuzz'))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == 'win32', reason='needs fork')
def test_tools_answer_every_value_with_a_line_or_a_right_run(tools: Tools) -> None:
    for config in ('upernet', 'mask_rcnn'):  # else a fault in the harness would look like wrong input that is refused
        assert tools.outcome(Case('test', config, (), ())).status == 0, 'of what `checkpoint` trains'
    assert hunt(tools, cases(['train', 'test']), CASES, seed=0) == []


@pytest.mark.parametrize(
    'outcome, complaint',
    [
        (Outcome(2, '', 'error: one line\n', False), None),
        (Outcome(2, '', 'error: one line\n', True), 'a work directory was left'),
        (Outcome(2, '', 'warning\nerror: one line\n', False), '2 lines'),
        (Outcome(2, '', 'usage: one line\n', False), '1 lines'),
        (Outcome(70, '', 'error: one line\n', False), 'exit status 70'),
        (Outcome(-9, '', '', False), 'exit status -9'),
        (Outcome(0, 'loss: 0.5  loss_cls: 1.5', '', True), None),
        (Outcome(0, 'loss: nan', '', True), 'losses'),
        (Outcome(0, 'loss_cls: inf  loss: 1.0', '', True), 'losses'),
    ],
)
def test_what_is_complained_of(outcome: Outcome, complaint: str | None) -> None:
    assert outcome.complaint is None if complaint is None else outcome.complaint.startswith(complaint)
