// The page: what a person does, and what is shown of it.

import { Camera } from './camera.js';
import { Problem, fetchMeta } from './download.js';
import { Engine } from './engine.js';
import { fillLegend, rowsOf } from './legend.js';
import { classMap } from './masks.js';
import { opened, pixels, sizeFor } from './picture.js';
import { greyPng, objectsJson, save } from './save.js';
import { View } from './view.js';
import { aboutModel, aboutThreads, megabytes, named, seconds, summary, times, titleOf } from './words.js';

const ui = new Proxy({}, { get: (_, id) => document.getElementById(id) });
const state = { name: '', result: null, rows: [], hidden: new Set(), busy: false, cancelled: false, next: null };
const camera = new Camera();
const view = new View(ui.stage, name);
let meta, engine;

async function start() {
  ui.unstarted.remove();
  ui.main.hidden = false;
  if (typeof WebAssembly !== 'object') throw new Problem('this browser has no WebAssembly, or it is switched off');
  meta = await fetchMeta(new URL('./model.json', import.meta.url));
  document.title = ui.title.textContent = titleOf(meta);
  ui.about.textContent = aboutModel(meta);
  ui['score-field'].hidden = ui['save-objects'].hidden = meta.task !== 'detection';
  ui['legend-title'].textContent = meta.task === 'detection' ? 'Objects' : 'Classes';
  ui['side-field'].hidden = Array.isArray(meta.input.size);
  ui.controls.hidden = false;
  engine = new Engine(meta, loading);
  setOpacity();
  listen();
  await load();
  if (!state.result && !state.busy) say('The model is ready.');
}

/** The model, with a bar while it is loaded. */
async function load() {
  loading(0);
  ui.loading.hidden = false;
  try {
    ui.threads.textContent = aboutThreads((await engine.load()).threads);
  } finally {
    ui.loading.hidden = true;
  }
}

function loading(bytes) {
  ui.progress.value = bytes / meta.bytes;
  const whole = bytes >= meta.bytes;
  ui.loaded.textContent = whole ? 'Preparing the model' : `Loading the model: ${megabytes(bytes)} of ${megabytes(meta.bytes)}`;
  if (whole) ui.progress.removeAttribute('value');
}

/** Computes a picture, an ImageBitmap; of those that come meanwhile, the last one is next. */
async function compute(bitmap, title, quiet = false) {
  if (state.busy) {
    state.next?.[0].close();
    state.next = [bitmap, title, quiet];
    return;
  }
  setBusy(true);
  if (!quiet) forget(title);
  try {
    const [width, height] = [bitmap.width, bitmap.height];
    if (!quiet) show(bitmap);
    await load();
    if (state.cancelled) throw null;
    if (!quiet) say(`Computing ${title}, ${times(width, height)} …`);
    const size = sizeFor(width, height, meta.input.size, Number(ui.side.value), meta.input.least);
    const { result, seconds: spent } = await engine.run(pixels(bitmap, ...size), [width, height]);
    if (quiet && !camera.on) return;
    if (quiet) show(bitmap);
    finish(result, title, spent, size, quiet);
  } catch (error) {
    complain(error);
    if (quiet) await toggleCamera(false);
  } finally {
    bitmap.close();
    setBusy(false);
    const next = state.next;
    state.next = null;
    if (next) compute(...next);
  }
}

function show(bitmap) {
  ui.empty.hidden = true;
  ui.keys.hidden = false;
  ui.drop.classList.add('filled');
  view.show(bitmap, bitmap.width, bitmap.height);
}

function finish(result, title, spent, [width, height], quiet) {
  Object.assign(state, { result, name: title });
  const resized = width === result.width && height === result.height ? '' : `, computed at ${times(width, height)}`;
  ui.time.textContent = `${seconds(spent)} for ${times(result.width, result.height)}${resized}`;
  ui.saving.hidden = false;
  showResult();
  const why = Array.isArray(meta.input.size) && resized ? `; the model takes ${times(width, height)} alone: it was resized` : '';
  if (!quiet) say(`${summary(title, result, state.rows)}${why}.`);
}

/** Draws the result with what is shown of it, and lists it. */
function showResult() {
  if (!state.result) return;
  state.rows = rowsOf(state.result, meta, Number(ui.score.value) / 100);
  fillLegend(ui.legend, state.rows, state.hidden, toggle);
  ui['legend-empty'].hidden = state.rows.length > 0;
  ui['legend-empty'].textContent = 'Nothing found.';
  view.showResult(state.result, shown(), meta);
}

const shown = () => state.rows.map((row) => row.key).filter((key) => !state.hidden.has(key));

function toggle(key, visible) {
  if (visible) state.hidden.delete(key);
  else state.hidden.add(key);
  view.showResult(state.result, shown(), meta);
}

function name(x, y) {
  if (!state.result) return;
  ui.named.textContent = '';
  const text = named(state.result, x, y, meta, shown());
  requestAnimationFrame(() => (ui.named.textContent = text)); // said again, also where it is the same
}

function forget(title) {
  Object.assign(state, { result: null, rows: [], name: title });
  ui.error.hidden = ui.saving.hidden = true;
  ui.named.textContent = '';
  ui.time.textContent = '-';
  ui.legend.replaceChildren();
}

function say(text) {
  ui.status.textContent = text;
}

/** One line about what went wrong; null is what a person has stopped. */
function complain(error) {
  if (error === null) return say('Cancelled.');
  if (!(error instanceof Problem)) console.error(error);
  const line = error instanceof Problem ? error.message : `unforeseen: ${error?.message ?? error}`;
  say('');
  ui.error.textContent = line[0].toUpperCase() + line.slice(1);
  ui.error.hidden = false;
}

function setBusy(busy) {
  state.busy = busy;
  state.cancelled = false;
  ui.cancel.hidden = !busy || camera.on;
  ui.drop.setAttribute('aria-busy', busy);
}

function cancel() {
  state.cancelled = true;
  engine.stop();
}

async function take(blob) {
  if (!blob) return complain(new Problem('no picture in what was dropped or pasted: give a picture file'));
  await toggleCamera(false);
  try {
    await compute(await opened(blob), blob.name || 'pasted picture');
  } catch (error) {
    complain(error);
  }
}

async function toggleCamera(on = !camera.on) {
  if (on === camera.on) return;
  try {
    if (on) await camera.start();
    else camera.stop();
  } catch (error) {
    complain(error);
  }
  ui.camera.setAttribute('aria-pressed', camera.on);
  ui.camera.textContent = camera.on ? 'Stop camera' : 'Camera';
  if (on && camera.on) {
    ui.error.hidden = true;
    say('The camera is on.');
    await follow();
  } else if (!on) say('The camera is off.');
}

/** Frame after frame, each when the one before is done. */
async function follow() {
  while (camera.on) {
    if (!state.busy) await compute(await camera.frame(), 'camera', true);
    await new Promise(requestAnimationFrame);
  }
}

function setOpacity() {
  view.opacity = Number(ui.opacity.value) / 100;
  ui['opacity-value'].textContent = `${ui.opacity.value} %`;
}

function setScore() {
  ui['score-value'].textContent = (Number(ui.score.value) / 100).toFixed(2);
  showResult();
}

const stem = () => state.name.replace(/\.[^.]*$/, '') || 'picture';

async function saveClasses() {
  const { width, height } = state.result;
  save(await greyPng(classMap(state.result, shown(), meta), width, height), `${stem()}_classes.png`);
}

function listen() {
  ui.choose.addEventListener('click', () => ui.file.click());
  ui.file.addEventListener('change', () => {
    if (ui.file.files.length) take(ui.file.files[0]);
    ui.file.value = ''; // so that the same file can be chosen again
  });
  ui.camera.addEventListener('click', () => toggleCamera());
  ui.cancel.addEventListener('click', cancel);
  ui.opacity.addEventListener('input', setOpacity);
  ui.score.addEventListener('input', setScore);
  ui['save-picture'].addEventListener('click', async () => save(await view.composed(), `${stem()}_result.png`));
  ui['save-classes'].addEventListener('click', saveClasses);
  ui['save-objects'].addEventListener('click', () =>
    save(objectsJson(state.result, shown(), meta, state.name), `${stem()}_objects.json`),
  );
  addEventListener('paste', (event) => take(pictureIn(event.clipboardData)));
  addEventListener('dragover', (event) => {
    event.preventDefault();
    ui.drop.classList.add('over');
  });
  addEventListener('dragleave', (event) => event.relatedTarget || ui.drop.classList.remove('over'));
  addEventListener('drop', (event) => {
    event.preventDefault();
    ui.drop.classList.remove('over');
    take(pictureIn(event.dataTransfer));
  });
}

const pictureIn = (transfer) => [...(transfer?.files ?? [])][0];

start().catch(complain);
