"""Where weights come from: URLs, hubs and their caches; what fails leaves nothing."""

import pytest
import torch
from test_open import SMALL, weights

from convnext_dense import ConvNeXt, InputError
from convnext_dense.weights.fetch import resolve
from convnext_dense.weights.load import load_pretrained


def test_a_download_that_fails_says_what_to_do(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    with pytest.raises(InputError, match=r'could not download http://127.0.0.1:9/w.pth .*--pretrained FILE.*--pretrained none'):
        resolve('http://127.0.0.1:9/w.pth')
    assert not list((tmp_path / 'checkpoints').iterdir())


def test_a_downloaded_file_is_taken_from_the_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    (tmp_path / 'checkpoints').mkdir()
    torch.save(weights(), tmp_path / 'checkpoints' / 'w.pth')
    load_pretrained(ConvNeXt(SMALL), 'http://127.0.0.1:9/w.pth')


@pytest.fixture
def offline(monkeypatch, tmp_path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path))


@pytest.mark.parametrize('name', ['hf-hub:facebook/convnext-tiny-224', 'timm:convnext_tiny.fb_in1k'])
def test_hubs_offline(offline, name: str) -> None:
    with pytest.raises(InputError, match=f'could not download {name} .*--pretrained FILE') as caught:
        resolve(name)
    assert len(str(caught.value).splitlines()) == 1


def test_a_name_that_timm_does_not_have() -> None:
    with pytest.raises(InputError, match='expected a pre-trained model of timm; it has convnext_tiny'):
        resolve('timm:convnext_tiny.no_such_tag')


@pytest.mark.parametrize('name, module', [('hf-hub:a/b', 'huggingface_hub'), ('timm:convnext_tiny', 'timm')])
def test_hubs_without_their_library(monkeypatch, name: str, module: str) -> None:
    monkeypatch.setitem(__import__('sys').modules, module, None)
    with pytest.raises(InputError, match=f'expected the package {module}, which is not installed'):
        resolve(name)
