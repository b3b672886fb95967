"""A headless Chromium, and what tests do on the page."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from convnext_dense.export.web_runtime import runtime_at_hand

playwright = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
pytest.importorskip('onnx', reason='onnx is not installed')
needs = [
    pytest.mark.slow,
    pytest.mark.skipif(runtime_at_hand() is None, reason='onnxruntime-web is neither in node_modules nor in the cache'),
]
playwright.expect.set_options(timeout=30_000)
NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
CAMERA = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream']
Visit = Callable[..., Any]


@contextmanager
def launched() -> Iterator[Any]:
    """Playwright's own, or one of the system; without one the test is skipped."""
    with playwright.sync_playwright() as api:
        own = api.chromium.executable_path
        path = own if Path(own).exists() else next(filter(None, map(shutil.which, NAMES)), None)
        if path is None:
            pytest.skip('no Chromium: `playwright install chromium`, or install one of the system')
        browser = api.chromium.launch(executable_path=path, args=['--no-sandbox', *CAMERA])
        yield browser
        browser.close()


@contextmanager
def visits(browser: Any) -> Iterator[Visit]:
    """Open a site in a context of its own; at the end, nothing was asked of another server and no script has failed."""
    contexts, asked, failed = [], [], []

    def visit(url: str, script: str = '', **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.on('request', lambda request: asked.append(request.url))
        page.on('pageerror', lambda error: failed.append(str(error)))
        if script:
            page.add_init_script(script)
        page.goto(url)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert [url for url in asked if not re.match(r'(http://127\.0\.0\.1:\d+/|blob:|data:)', url)] == [] and failed == []


def choose(page: Any, file: str) -> None:
    page.set_input_files('#file', file)
    playwright.expect(page.locator('#saving')).to_be_visible(timeout=60_000)


def class_map(page: Any, folder: Path) -> np.ndarray:
    with page.expect_download() as download:
        page.get_by_role('button', name='Save class map').click()
    download.value.save_as(folder / 'map.png')
    return cv2.imread(str(folder / 'map.png'), cv2.IMREAD_UNCHANGED)


def text(page: Any, name: str) -> str:
    return page.locator(f'#{name}').text_content()


def expect_text(page: Any, name: str, words: str) -> None:
    playwright.expect(page.locator(f'#{name}')).to_contain_text(words)
