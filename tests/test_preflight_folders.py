"""A work directory in a checkpoint's place."""

import pytest
import torch
from test_resume_state import config, saved

from convnext_dense import InputError
from convnext_dense.run.preflight import last_checkpoint, resolve_resume
from convnext_dense.training.checkpoint_file import write_checkpoint, write_pointer


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


def test_checkpoints_that_are_written_elsewhere(tmp_path) -> None:
    """Into out_dir, in a folder that is named as the work directory; the pointer, which is in that, may be lost."""
    run, out = tmp_path / 'run', tmp_path / 'out'
    for number in (1, 2):
        write_checkpoint(dict(meta=dict(iter=number, epoch=0), optimizer={}), _made(out / 'run') / f'iter_{number}.pth')
    assert resolve_resume('auto', str(run), str(out))[0] == str(out / 'run/iter_2.pth')
    assert resolve_resume(True, f'{run}/', str(out))[0] == str(out / 'run/iter_2.pth')
    write_pointer(_made(run), str(out / 'run/iter_2.pth'))
    (out / 'run/iter_2.pth').write_bytes(b'PK')
    assert resolve_resume('auto', str(run))[0] == str(out / 'run/iter_1.pth'), 'where the pointer says'
    (out / 'run/iter_1.pth').unlink()
    for resume in ('auto', True):
        with pytest.raises(InputError, match='run/iter_2.pth is passed over'):
            resolve_resume(resume, str(run), str(out))


@pytest.mark.parametrize('name', ['iter_3.pth', 'epoch_3.pth'])
def test_auto_does_not_write_over_what_may_be_mended(name: str, tmp_path) -> None:
    (tmp_path / 'other.pth').touch()
    assert resolve_resume('auto', str(tmp_path))[0] is None
    (tmp_path / name).write_bytes(b'PK')
    with pytest.raises(InputError, match=f'or none at all, found .*{name} is passed over: .*; a run from .* --work-dir$'):
        resolve_resume('auto', str(tmp_path))


def test_auto_does_not_begin_anew_where_the_last_one_is_out_of_reach(tmp_path) -> None:
    """As on a disk that is not there."""
    write_pointer(tmp_path, '/not/mounted/iter_3.pth')
    with pytest.raises(
        InputError, match='last_checkpoint is passed over: it names /not/mounted/iter_3.pth, which is not there'
    ):
        resolve_resume('auto', str(tmp_path))


def _made(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder
