"""A work directory in a checkpoint's place."""

import torch
from test_resume_state import config, saved

from convnext_dense.run.preflight import last_checkpoint


def test_a_folder_whose_pointer_is_lost_gives_the_newest_whole_one(tmp_path, logged) -> None:
    content = saved(config())
    for iteration in (1, 2):
        torch.save(content | dict(meta=dict(content['meta'], iter=iteration)), tmp_path / f'iter_{iteration}.pth')
    (tmp_path / 'iter_3.pth').write_bytes(b'PK\x03\x04 cut off')
    assert last_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_2.pth')
    assert any('iter_2.pth is taken, the newest whole one: expected a checkpoint in' in line for line in logged)
    (tmp_path / 'last_checkpoint').write_text('elsewhere/iter_9.pth')
    assert last_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_2.pth')
    assert any('the newest whole one: elsewhere/iter_9.pth is not there' in line for line in logged)
    (tmp_path / 'last_checkpoint').write_text('elsewhere/iter_1.pth')
    assert last_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_1.pth'), 'a folder that was moved'
