// Masks and boxes onto canvases. A colour is [red, green, blue].

import { patchOf } from './masks.js';

export const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
const readableOn = ([r, g, b]) => (0.299 * r + 0.587 * g + 0.114 * b > 140 ? 'black' : 'white');

/** Opaque colours where a class is that is shown, or an object's mask; the canvas's opacity is the caller's. */
export function paintMask(canvas, result, shown, meta) {
  const { width, height } = result;
  Object.assign(canvas, { width, height });
  const context = canvas.getContext('2d');
  const image = context.createImageData(width, height);
  const words = new Uint32Array(image.data.buffer);
  if (result.task === 'segmentation') {
    const colours = [...meta.palette.keys()].map((label) => (shown.has(label) ? word(meta.palette[label]) : 0));
    result.classes.forEach((label, i) => (words[i] = colours[label] ?? 0));
  } else if (meta.masks) {
    for (const object of [...shown].reverse()) paintPatch(words, width, patchOf(object, result, meta), colourOf(object, meta));
  }
  context.putImageData(image, 0, 0);
}

export const colourOf = (object, meta) => meta.palette[object.label] ?? [128, 128, 128];

function paintPatch(words, across, { left, top, width, height, bits }, colour) {
  const value = word(colour);
  for (let y = 0; y < height; y++) {
    const start = (top + y) * across + left;
    for (let x = 0; x < width; x++) if (bits[y * width + x]) words[start + x] = value;
  }
}

/** One pixel as ImageData has it in memory. */
const word = ([r, g, b]) => new Uint32Array(new Uint8Array([r, g, b, 255]).buffer)[0];

/** Boxes with names and scores, the highest score last; `scale`: canvas pixels per pixel of the picture. */
export function paintBoxes(context, objects, meta, scale, unit) {
  context.lineWidth = 2 * unit;
  context.font = `600 ${13 * unit}px system-ui, sans-serif`;
  context.textBaseline = 'top';
  for (const object of [...objects].reverse()) {
    const colour = colourOf(object, meta);
    const [left, top, right, bottom] = object.box.map((value) => value * scale);
    context.strokeStyle = css(colour);
    context.strokeRect(left, top, right - left, bottom - top);
    const text = `${meta.classes[object.label]} ${object.score.toFixed(2)}`;
    const [width, height] = [context.measureText(text).width + 8 * unit, 18 * unit];
    const x = Math.max(Math.min(left - unit, context.canvas.width - width), 0);
    const y = top - height >= 0 ? top - height : Math.max(top, 0);
    context.fillStyle = css(colour);
    context.fillRect(x, y, width, height);
    context.fillStyle = readableOn(colour);
    context.fillText(text, x + 4 * unit, y + 2 * unit);
  }
}

/** A cross in black and white, which is seen on every picture. */
export function paintCross(context, x, y, unit) {
  for (const [colour, wide] of [['white', 4], ['black', 1.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = wide * unit;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 4 * dx * unit, y + 4 * dy * unit);
      context.lineTo(x + 16 * dx * unit, y + 16 * dy * unit);
    }
    context.stroke();
  }
}
