"""Where weights come from: URLs, hubs and their caches; what fails leaves nothing."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from test_open import SMALL, weights

from convnext_dense import ConvNeXt, InputError
from convnext_dense.weights.fetch import DINOV3, open_resolved, resolve
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
    with pytest.raises(InputError, match='expected a pre-trained model of timm; it has convnext_tiny\\.'):
        resolve('timm:convnext_tiny.no_such_tag')


@pytest.mark.parametrize('name, module', [('hf-hub:a/b', 'huggingface_hub'), ('timm:convnext_tiny', 'timm')])
def test_hubs_without_their_library(monkeypatch, name: str, module: str) -> None:
    monkeypatch.setitem(__import__('sys').modules, module, None)
    with pytest.raises(InputError, match=f'expected the package {module}, which is not installed'):
        resolve(name)


@pytest.mark.parametrize(
    'name, message',
    [
        ('file:///a.pth', 'begins with http://, https://, hf-hub: or timm:; got file:///a.pth'),
        ('ftp://host/a.pth', 'got ftp://host/a.pth'),
        ('htps://host/a.pth', 'got htps://host/a.pth'),
        ('http://', 'expected a URL of a file, got http://'),
        ('https:///a.pth', 'expected a URL of a file'),
        ('https://host/', 'expected a URL of a file'),
        ('https://host/..', 'expected a URL of a file'),
        ('http:a.pth', 'expected a URL of a file'),
        ('http://[::1/a.pth', 'expected a path or a URL, got .*Invalid IPv6 URL'),
        ('http://host:b/a.pth', 'could not download http://host:b/a.pth'),
        ('http://127.0.0.1:9/a\nb.pth', r"could not download 'http://127.0.0.1:9/a\\nb.pth'"),
        (f'http://host/{"x" * 300}', 'File name too long'),
        ('hf-hub:', 'expected a name after hf-hub:'),
        ('hf-hub: ', 'expected a name after hf-hub:'),
        ('timm:', 'expected a name after timm:'),
        (None, 'expected a path, got None'),
        (5, 'expected a path, got 5'),
        ('', "expected a path, got ''"),
        ('no/dinov3_convnext_tiny.pth', f'expected the file no/dinov3_.*accept its licence at {DINOV3}, .*--pretrained FILE'),
    ],
)
def test_names_that_lead_nowhere(tmp_path, monkeypatch, name, message: str) -> None:
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    with pytest.raises(InputError, match=message) as caught:
        resolve(name)
    assert len(str(caught.value).splitlines()) == 1
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]


def test_paths_stay_as_they_are() -> None:
    for path in ('a.pth', '/b/a.pth', 'C:a.pth', 'mailto:a'):
        assert resolve(path) == path
    assert resolve(Path('b/a.pth')) == str(Path('b/a.pth'))


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves what the test puts under a path; counts what was asked for."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content, length = answers[self.path]
            asked.append(self.path)
            self.send_response(200)
            self.send_header('Content-Length', str(length))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args) -> None:
            pass

    answers, asked = {}, []
    served = HTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=lambda: served.serve_forever(0.02), daemon=True).start()
    yield f'http://127.0.0.1:{served.server_port}', answers, asked
    served.shutdown()
    served.server_close()


def content_of(state: dict, path: Path) -> bytes:
    torch.save(state, path)
    return path.read_bytes()


def test_a_download_is_kept_whole_or_not_at_all(server, tmp_path) -> None:
    url, answers, asked = server
    whole = content_of(weights(), tmp_path / 'w.pth')
    folder = tmp_path / 'hub' / 'checkpoints'
    for content, length, message in (
        (whole[:-100], len(whole), 'could not download .*cannot be read'),
        (whole[:-100], len(whole) - 100, 'could not download .*cannot be read'),
        (b'<html>not found</html>', 22, 'could not download .*web page'),
    ):
        answers['/w.pth'] = content, length
        with pytest.raises(InputError, match=message):
            resolve(f'{url}/w.pth')
        assert not list(folder.iterdir())
    answers['/w.pth'] = whole, len(whole)
    for _ in range(2):
        assert resolve(f'{url}/w.pth') == str(folder / 'w.pth')
    assert asked == ['/w.pth'] * 4, 'the second time it comes from the cache'
    assert [path.name for path in folder.iterdir()] == ['w.pth']
    (folder / 'w.pth').write_bytes(whole[:-100])
    with pytest.raises(InputError, match=rf'{folder / "w.pth"}: .*it was downloaded from {url}/w.pth: delete it'):
        open_resolved(f'{url}/w.pth')


@pytest.mark.parametrize('stem', ['model', 'pytorch_model', 'checkpoint', 'weights', 'latest', 'best'])
def test_files_of_one_name_from_two_places_stay_apart(server, tmp_path, stem: str) -> None:
    url, answers, _ = server
    for place in 'ab':
        content = content_of({f'{place}.weight': torch.ones(1)}, tmp_path / 'x.pth')
        answers[f'/{place}/{stem}.bin'] = content, len(content)
    one, two = (resolve(f'{url}/{place}/{stem}.bin') for place in 'ab')
    assert one != two and os.path.basename(one).endswith(f'-{stem}.bin')
    assert set(torch.load(one)) == {'a.weight'} and set(torch.load(two)) == {'b.weight'}


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path) -> None:
    (tmp_path / 'hub').write_text('a file')
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    with pytest.raises(InputError, match=r'could not download http://127.0.0.1:9/w.pth \((File exists|Not a directory)\)'):
        resolve('http://127.0.0.1:9/w.pth')


def test_timms_file_comes_with_its_config(monkeypatch, tmp_path) -> None:
    """Which tells the image mean and std."""
    import huggingface_hub

    asked = []
    monkeypatch.setattr(huggingface_hub, 'hf_hub_download', lambda hub, name: asked.append(name) or str(tmp_path / name))
    assert resolve('timm:convnext_tiny.fb_in1k') == str(tmp_path / 'model.safetensors')
    assert asked == ['config.json', 'model.safetensors']


def test_processes_that_start_together_download_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    downloads = []

    def download(url, target, **options):
        downloads.append(url)
        time.sleep(0.2)
        torch.save(dict(w=torch.zeros(1)), target)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    monkeypatch.setattr('os.getpid', threading.get_ident)  # so that threads stand for processes
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(resolve, ['https://example.org/x_tiny.pth'] * 4))
    assert paths == {str(tmp_path / 'checkpoints/x_tiny.pth')}
    assert len(downloads) == 1
    assert [p.name for p in (tmp_path / 'checkpoints').iterdir()] == ['x_tiny.pth']
