"""A site on this computer: headers, types, ports, and its end."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import pytest
from conftest import ROOT, one_line
from web_sites import fake_runtime, meta, served

from convnext_dense import InputError
from convnext_dense.export.serve import HEADERS, make_server
from convnext_dense.export.web import write_site


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / 'model.onnx').write_bytes(b'model')
    write_site(tmp_path / 'site', tmp_path / 'model.onnx', meta(), fake_runtime(tmp_path / 'runtime'))
    return tmp_path / 'site'


def test_headers_and_types(site: Path) -> None:
    types = {
        '': 'text/html; charset=utf-8',
        'app.js': 'text/javascript',
        'style.css': 'text/css',
        'model.json': 'application/json',
        'model.onnx': 'application/octet-stream',
        'onnxruntime/ort.wasm.min.mjs': 'text/javascript',
        'onnxruntime/ort-wasm-simd-threaded.wasm': 'application/wasm',
    }
    with served(site) as url:
        for name, kind in types.items():
            with urllib.request.urlopen(f'{url}{name}?version') as answer:
                assert answer.headers['Content-Type'] == kind
                assert {key: answer.headers[key] for key in HEADERS} == HEADERS
                assert answer.read() == (site / (name or 'index.html')).read_bytes()


@pytest.mark.parametrize('path', ['no.js', 'onnxruntime/', '../runtime/ort.wasm.min.mjs', '%2e%2e/runtime/ort.wasm.min.mjs'])
def test_nothing_else(site: Path, path: str) -> None:
    with served(site) as url, pytest.raises(urllib.error.HTTPError, match='404'):
        urllib.request.urlopen(url + path)


def test_a_browser_that_goes_away(site: Path, capfd) -> None:
    (site / 'model.onnx').write_bytes(bytes(20_000_000))
    with served(site) as url:
        host, port = url.removeprefix('http://').rstrip('/').split(':')
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b'GET /model.onnx HTTP/1.0\r\n\r\n')
            connection.recv(10)
        with urllib.request.urlopen(url) as answer:
            assert answer.status == 200
    assert capfd.readouterr().err == ''


def test_wrong_input(site: Path, tmp_path: Path) -> None:
    for folder, words in ((tmp_path, 'which is none; make one with --to web'), (tmp_path / 'no', 'which is not there')):
        with pytest.raises(InputError, match=words):
            make_server(str(folder))
    with pytest.raises(InputError, match='expected a number from 0 to 65535, got 65536'):
        make_server(str(site), 65536)
    with make_server(str(site), 0) as server:
        port = server.server_address[1]
        with pytest.raises(InputError, match=f'expected a free port, got {port}, which is in use; name another'):
            make_server(str(site), port)


def test_the_command(tmp_path: Path, tool) -> None:
    one_line(*tool('export', '--serve', str(tmp_path)), '--serve: expected a site')


@pytest.mark.slow
def test_ctrl_c_ends_it_quietly(site: Path) -> None:
    command = [sys.executable, str(ROOT / 'tools/export.py'), '--serve', str(site), '--port', '0']
    streams = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # Whoever runs the tests in the background of a shell has it ignored, and so would this process.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, env=dict(os.environ), preexec_fn=heard, **streams) as process:
        line = process.stdout.readline()
        assert line.startswith('http://127.0.0.1:') and 'Ctrl-C ends it' in line
        with urllib.request.urlopen(line.split()[0]) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0 and process.stderr.read() == ''
