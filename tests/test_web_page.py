"""The page in a headless Chromium: what a person meets on it."""

import base64
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser import Visit, choose, class_map, expect_text, launched, needs, playwright, text, visits
from web_sites import hand_made_site, served

from convnext_dense.export.serve import Handler
from convnext_dense.export.web import META, MODEL

pytestmark = needs


@pytest.fixture(scope='module')
def chromium() -> Iterator[Any]:
    with launched() as browser:
        yield browser


@pytest.fixture
def visit(chromium: Any) -> Iterator[Visit]:
    with visits(chromium) as visit:
        yield visit


@pytest.fixture(scope='module')
def channels(tmp_path_factory) -> Iterator[str]:
    """The address of a site whose model names the brightest channel: class 0 red, 1 green, 2 blue."""
    with served(hand_made_site(tmp_path_factory.mktemp('channels') / 'site')) as url:
        yield url


@pytest.fixture
def quadrants(tmp_path: Path) -> str:
    """40 x 60 pixels: above green and red, below blue."""
    bgr = np.zeros((40, 60, 3), np.uint8)
    bgr[:20, :30, 1] = bgr[:20, 30:, 2] = bgr[20:, :, 0] = 200
    cv2.imwrite(str(tmp_path / 'quadrants.png'), bgr)
    return str(tmp_path / 'quadrants.png')


# What a person meets


def test_a_picture_its_legend_and_names(channels: str, quadrants: str, visit: Visit, tmp_path: Path) -> None:
    page = visit(channels)
    expect_text(page, 'status', 'The model is ready.')
    choose(page, quadrants)
    expect_text(page, 'status', 'quadrants.png, 60 \u00d7 40: 3 classes, most of it class 2 (50.0 %).')
    rows = page.locator('#legend li').all_text_contents()
    assert rows == ['class 250.0 %', 'class 025.0 %', 'class 125.0 %']
    assert re.fullmatch(r'\d+\.\d\d s for 60 \u00d7 40', text(page, 'time'))
    box = page.locator('#lines').bounding_box()
    page.mouse.click(box['x'] + box['width'] * 45.5 / 60, box['y'] + box['height'] * 10.5 / 40)
    expect_text(page, 'named', 'class 0 at 45, 10 (25.0 % of the picture)')
    page.get_by_label('class 2').uncheck()
    opaque = '(x) => [5, 35].map((y) => x.getContext("2d").getImageData(5, y, 1, 1).data[3])'
    assert page.locator('#mask').evaluate(opaque) == [255, 0]
    page.get_by_label('Opacity').press('End')
    assert page.locator('#mask').evaluate('(canvas) => canvas.style.opacity') == '1' and text(page, 'opacity-value') == '100 %'
    with page.expect_download() as download:
        page.get_by_role('button', name='Save picture').click()
    assert download.value.suggested_filename == 'quadrants_result.png'
    saved = cv2.imread(str(download.value.path()))
    assert saved[5, 5].tolist() == [60, 160, 30] and saved[35, 5].tolist() == [200, 0, 0]  # class 2 is hidden


def test_by_keyboard_alone(channels: str, quadrants: str, visit: Visit) -> None:
    page = visit(channels)
    with page.expect_file_chooser() as chooser:
        page.locator('body').press('Tab')
        assert page.evaluate('document.activeElement.id') == 'choose'
        page.keyboard.press('Enter')
    chooser.value.set_files(quadrants)
    playwright.expect(page.locator('#saving')).to_be_visible()
    reached = []
    while 'lines' not in reached and len(reached) < 12:
        page.keyboard.press('Tab')
        reached.append(page.evaluate('document.activeElement.id'))
    assert reached[-1] == 'lines' and page.locator('#lines').evaluate('(x) => getComputedStyle(x).outlineStyle') == 'solid'
    page.keyboard.press('Enter')
    expect_text(page, 'named', 'class 2 at 30, 20')  # from the middle
    page.keyboard.press('Shift+ArrowUp')
    page.keyboard.press('Enter')
    expect_text(page, 'named', 'class 0 at 30, 19')
    for _ in range(50):
        page.keyboard.press('ArrowLeft')
    page.keyboard.press('Enter')
    expect_text(page, 'named', 'class 1 at 0, 19')
    assert page.locator('#named').get_attribute('aria-live') == 'polite'


def test_each_control_has_a_name(channels: str, quadrants: str, visit: Visit) -> None:
    page = visit(channels)
    choose(page, quadrants)
    nameless = """() => [...document.querySelectorAll('button, input:not([hidden]), select, canvas[tabindex], progress')]
        .filter((x) => !(x.labels?.length || x.textContent.trim() || x.getAttribute('aria-label'))).map((x) => x.id)"""
    assert page.evaluate(nameless) == []
    assert page.locator('html').get_attribute('lang') == 'en' and page.title() == 'Name every pixel of a picture'


def give(page: Any, event: str, content: str) -> None:
    """A drop or a paste of a file, with `content` in base64."""
    script = """([event, content]) => {
        const transfer = new DataTransfer();
        if (content) {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            transfer.items.add(new File([bytes], event === 'paste' ? 'image.png' : 'dropped.png', {type: 'image/png'}));
        }
        const given = {bubbles: true, cancelable: true, dataTransfer: transfer, clipboardData: transfer};
        const made = event === 'paste' ? new ClipboardEvent(event, given) : new DragEvent(event, given);
        document.querySelector('#drop').dispatchEvent(made);
    }"""
    page.evaluate(script, [event, content])


@pytest.mark.parametrize('event', ['drop', 'paste'])
def test_given_in_other_ways(channels: str, quadrants: str, visit: Visit, event: str) -> None:
    page = visit(channels)
    expect_text(page, 'status', 'ready')
    give(page, event, base64.b64encode(Path(quadrants).read_bytes()).decode())
    expect_text(page, 'status', '.png, 60 \u00d7 40: 3 classes')
    give(page, event, '')
    expect_text(page, 'error', 'No picture in what was dropped or pasted')


def test_the_camera(channels: str, visit: Visit) -> None:
    page = visit(channels, permissions=['camera'])
    expect_text(page, 'status', 'ready')
    page.get_by_role('button', name='Camera').click()
    expect_text(page, 'time', '640 \u00d7 480')
    stop = page.get_by_role('button', name='Stop camera')
    assert stop.get_attribute('aria-pressed') == 'true' and page.locator('#picture').evaluate('(x) => x.width') == 640
    stop.click()
    expect_text(page, 'status', 'The camera is off.')
    playwright.expect(page.get_by_role('button', name='Camera')).to_have_attribute('aria-pressed', 'false')


@pytest.mark.parametrize('scheme, lightness', [('light', 'bright'), ('dark', 'dark')])
def test_dark_light_and_narrow(channels: str, quadrants: str, visit: Visit, scheme: str, lightness: str) -> None:
    page = visit(channels, color_scheme=scheme, viewport=dict(width=340, height=640))
    choose(page, quadrants)
    red = int(re.search(r'\d+', page.locator('body').evaluate('(x) => getComputedStyle(x).backgroundColor'))[0])
    assert (red > 200) if lightness == 'bright' else (red < 50)
    assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')


class Slow(Handler):
    """Sends a model a piece at a time."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        if not self.path.startswith(f'/{MODEL}'):
            return super().copyfile(source, outputfile)
        content = source.read()
        for part in range(4):
            outputfile.write(content[len(content) * part // 4 : len(content) * (part + 1) // 4])
            outputfile.flush()
            self.server.shutting_down.wait(0.3)


def test_a_bar_while_the_model_is_loaded(visit: Visit, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr('convnext_dense.export.serve.Server.shutting_down', threading.Event(), raising=False)
    with served(hand_made_site(tmp_path / 'site', comment=' ' * 1_300_000), Slow) as url:
        page = visit(url)
        page.wait_for_function('() => { const v = document.querySelector("#progress").value; return v > 0.1 && v < 0.9 }')
        assert re.match(r'Loading the model: [\d.]+ MB of 1\.3 MB', text(page, 'loaded'))
        expect_text(page, 'status', 'ready')
        playwright.expect(page.locator('#loading')).to_be_hidden()


def test_a_model_of_one_size(quadrants: str, visit: Visit, tmp_path: Path) -> None:
    with served(hand_made_site(tmp_path / 'site', size=(20, 20))) as url:
        page = visit(url)
        choose(page, quadrants)
        expect_text(page, 'status', 'the model takes 20 \u00d7 20 alone: it was resized')
        classes = class_map(page, tmp_path)
    assert classes.shape == (40, 60) and [classes[5, 5], classes[5, 55], classes[35, 5]] == [1, 0, 2]


# What goes wrong


def test_what_is_no_picture(channels: str, quadrants: str, visit: Visit, tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('no picture')
    page = visit(channels)
    expect_text(page, 'status', 'ready')
    page.set_input_files('#file', str(tmp_path / 'notes.txt'))
    expect_text(page, 'error', 'Cannot read notes.txt as a picture: choose a PNG')
    choose(page, quadrants)  # and goes on
    assert page.locator('#error').is_hidden()


def test_sites_that_are_not_whole(visit: Visit, tmp_path: Path) -> None:
    site = hand_made_site(tmp_path / 'site')
    whole = (site / MODEL).read_bytes()
    with served(site) as url:
        for content, words in (
            (whole[:50], f'Expected {len(whole)} bytes of model.onnx, got 50: copy the site again, whole'),
            (bytes(len(whole)), 'The model cannot be opened: '),
            (None, 'Cannot load model.onnx (status 404): is the site whole?'),
        ):
            (site / MODEL).unlink() if content is None else (site / MODEL).write_bytes(content)
            expect_text(visit(url), 'error', words)
        (site / MODEL).write_bytes(whole)
        (site / 'onnxruntime/ort.wasm.min.mjs').unlink()
        expect_text(visit(url), 'error', 'Cannot load onnxruntime-web')
        (site / META).write_text('{')
        expect_text(visit(url), 'error', 'Cannot read model.json: write the site again')
        (site / META).write_text('{"format": 2}')
        expect_text(visit(url), 'error', 'The model is of a newer version')


@pytest.mark.parametrize('copies', [420, 500, 2000])  # what fits in no memory, and sizes beyond those of WebAssembly
def test_out_of_memory(quadrants: str, visit: Visit, tmp_path: Path, copies: int) -> None:
    with served(hand_made_site(tmp_path / 'site', copies=copies)) as url:
        page = visit(url)
        expect_text(page, 'status', 'ready')
        page.set_input_files('#file', quadrants)
        expect_text(page, 'error', 'Out of memory for a picture of 60 \u00d7 40; choose a smaller longest side')


def test_browsers_without_what_it_takes(channels: str, visit: Visit) -> None:
    page = visit(channels, script='delete window.WebAssembly')
    expect_text(page, 'error', 'This browser has no WebAssembly')
    page = visit(channels, script='delete Navigator.prototype.mediaDevices')
    expect_text(page, 'status', 'ready')
    page.get_by_role('button', name='Camera').click()
    expect_text(page, 'error', 'The camera needs https')


ELEMENTS = "const [cancel, status] = ['cancel', 'status'].map((id) => document.getElementById(id))"
AT_ONCE = 'new MutationObserver(() => cancel.hidden || cancel.click()).observe(cancel, {attributes: true})'
COMPUTING = """new MutationObserver(() => status.textContent.startsWith('Computing') && setTimeout(() => cancel.click(), 50))
    .observe(status, {childList: true})"""


@pytest.mark.parametrize('when', [AT_ONCE, COMPUTING])
def test_a_picture_can_be_cancelled(quadrants: str, visit: Visit, tmp_path: Path, when: str) -> None:
    with served(hand_made_site(tmp_path / 'site', copies=300)) as url:  # about a second
        page = visit(url)
        expect_text(page, 'status', 'ready')
        page.evaluate(
            f"() => {{ const [cancel, status] = ['cancel', 'status'].map((id) => document.getElementById(id)); {when} }}"
        )
        page.set_input_files('#file', quadrants)
        expect_text(page, 'status', 'Cancelled.')
        assert page.locator('#saving').is_hidden() and page.locator('#cancel').is_hidden()
