"""The best checkpoint of a run, found by its content."""

from operator import gt
from pathlib import Path

import torch

from convnext_dense.training.best_found import best_found

NAMES = 'best_score', 'best_ckpt'


def best(folder: Path, iteration: int, score: float, run: str = 'a', path: str | None = None) -> None:
    name = f'best_mIoU_iter_{iteration}.pth'
    info = dict(best_score=score, best_ckpt=path or f'moved/{name}')
    torch.save(dict(meta=dict(iter=iteration, run=run), message_hub=dict(runtime_info=info)), folder / name)


def test_the_best_up_to_the_iteration_of_the_run(tmp_path: Path) -> None:
    def found(run: str | None = 'a') -> dict | None:
        return best_found(str(tmp_path), 'best_mIoU_*.pth', NAMES, run, 10, gt)

    assert found() is None
    best(tmp_path, 4, 0.5)
    best(tmp_path, 10, 0.4)
    best(tmp_path, 11, 0.9)
    best(tmp_path, 3, 0.8, run='b')
    best(tmp_path, 2, 0.7, path='best_mIoU_x_iter_2.pth')
    torch.save([1], tmp_path / 'best_mIoU_a.pth')
    torch.save(dict(a=1), tmp_path / 'best_mIoU_b.pth')
    (tmp_path / 'best_mIoU_c.pth').touch()
    assert found() == dict(best_score=0.5, best_ckpt=str(tmp_path / 'best_mIoU_iter_4.pth'))
    assert found(None) is None and found('c') is None
    (tmp_path / 'best_mIoU_iter_4.pth').unlink()
    assert found() == dict(best_score=0.4, best_ckpt=str(tmp_path / 'best_mIoU_iter_10.pth'))
