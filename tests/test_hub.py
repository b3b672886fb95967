"""A model to the hub and back, by a stand-in for its server and the folder layout of its library's cache; no network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import one_line
from models import photograph

from convnext_dense import load_model
from convnext_dense.errors import InputError
from convnext_dense.predict.hub import CARD, CHECKPOINT, CONFIG, from_hub
from convnext_dense.report.hub import check_hub, laid_out, upload

hub = pytest.importorskip('huggingface_hub')


@pytest.fixture
def work_dir(tmp_path: Path, segmentor_file: str) -> Path:
    """A run with an exported file, and more in its checkpoint than others need."""
    folder = tmp_path / 'run'
    folder.mkdir()
    content = torch.load(segmentor_file, weights_only=True)
    torch.save({**content, 'optimizer': dict(state=torch.zeros(1000))}, folder / 'iter_1.pth')
    for name in ('small.onnx', 'small.json', 'other.json', 'report.html'):
        (folder / name).write_text('{}')
    (folder / 'config.py').write_text('a = 1\n')
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    """The library's cache, without a network."""
    monkeypatch.setattr(hub.constants, 'HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.setattr(hub.constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(hub.file_download, 'HF_HUB_CACHE', str(tmp_path / 'hub'), raising=False)
    return tmp_path / 'hub'


def in_cache(cache: Path, repository: str, revision: str = '0' * 40) -> Path:
    """Where the library keeps a revision of a repository: models--ORG--NAME/snapshots/REVISION."""
    folder = cache / f'models--{repository.replace("/", "--")}'
    (folder / 'refs').mkdir(parents=True, exist_ok=True)
    (folder / 'refs' / 'main').write_text(revision)
    (folder / 'snapshots' / revision).mkdir(parents=True)
    return folder / 'snapshots' / revision


def test_there_and_back(work_dir: Path, cache: Path, segmentor_file: str) -> None:
    folder = in_cache(cache, 'me/shapes')
    files = laid_out(folder, work_dir, str(work_dir / 'iter_1.pth'), work_dir / 'config.py', '# card\n')
    assert files == [CARD, CONFIG, CHECKPOINT, 'small.json', 'small.onnx']
    assert set(torch.load(folder / CHECKPOINT, weights_only=True)) == {'meta', 'state_dict'}
    picture = photograph(64, 96)
    there, here = load_model('hf-hub:me/shapes'), load_model(segmentor_file)
    assert there.classes == here.classes and (there(picture).mask == here(picture).mask).all()
    assert np.unique(here(picture).mask).size > 0
    assert Path(from_hub('hf-hub:me/shapes@main')) == folder / CHECKPOINT


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('hf-hub:shapes', 'expected hf-hub:ORGANISATION/NAME, got hf-hub:shapes'),
        ('hf-hub:me/', 'expected hf-hub:ORGANISATION/NAME'),
        ('hf-hub:me/gone', 'expected a repository with model.pth'),
    ],
)
def test_names_that_lead_nowhere(cache: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_model(name)


class Server:
    """A stand-in for HfApi that keeps what it is given, or refuses it."""

    def __init__(self, refuses: str = '') -> None:
        self.refuses, self.calls = refuses, []

    def create_repo(self, name: str, **options: object) -> None:
        if self.refuses:
            raise RuntimeError(self.refuses)
        self.calls.append((name, options))

    def upload_folder(self, repo_id: str, folder_path: str, commit_message: str) -> str:
        self.calls.append((repo_id, sorted(path.name for path in Path(folder_path).iterdir())))
        return f'https://example.org/{repo_id}'


def test_upload(work_dir: Path, monkeypatch) -> None:
    server, said = Server(), []
    monkeypatch.setattr(hub, 'HfApi', lambda: server)
    upload('me/shapes', work_dir, str(work_dir / 'iter_1.pth'), work_dir / 'config.py', '# card\n', said.append)
    made, given = server.calls
    assert made == ('me/shapes', dict(private=True, exist_ok=True))
    assert given == ('me/shapes', [CARD, CONFIG, CHECKPOINT, 'small.json', 'small.onnx'])
    assert 'https://example.org/me/shapes' in said[-1]


def test_a_hub_that_refuses(work_dir: Path, monkeypatch) -> None:
    monkeypatch.setattr(hub, 'HfApi', lambda: Server('401 Unauthorized'))
    with pytest.raises(InputError, match='did not take it .*401 Unauthorized.*hf auth login'):
        upload('me/shapes', work_dir, str(work_dir / 'iter_1.pth'), work_dir / 'config.py', '# card\n', print)


@pytest.mark.parametrize('name', ['shapes', 'me/a/b', 'me/sha pes', '/shapes', 'me/--x'])
def test_names_are_checked_before_anything_is_predicted(tool, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match='--hub: expected ORGANISATION/NAME'):
        check_hub(name)
    one_line(*tool('report', str(tmp_path), '--hub', name), '--hub: expected ORGANISATION/NAME')
