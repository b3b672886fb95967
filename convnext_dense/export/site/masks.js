// Masks of objects, pasted when they are first asked for, and the class map of a result.

import { around } from './results.js';

/** The value of no class in a class map: 255; of more than 255 classes 65535. */
export const nothing = (classes) => (classes <= 255 ? 255 : 65535);

/** {left, top, width, height, bits}: the object's mask, or its box where the model makes none. */
export function patchOf(object, result, meta) {
  object.patch ??= object.soft ? pasted(object, result, meta.mask_threshold ?? 0.5) : boxed(object.box, result);
  return object.patch;
}

/** Bilinear, with zeros around, as MMDetection pastes them. */
function pasted({ box, soft }, result, threshold) {
  const { left, top, right, bottom } = around(box, result.width, result.height);
  const [width, height] = [right - left, bottom - top];
  const bits = new Uint8Array(width * height);
  const columns = places(left, width, box[0], box[2], soft.width);
  const rows = places(top, height, box[1], box[3], soft.height);
  const at = (row, column) =>
    row >= 0 && row < soft.height && column >= 0 && column < soft.width ? soft.values[row * soft.width + column] : 0;
  for (let y = 0; y < height; y++) {
    const row = Math.floor(rows[y]);
    const down = rows[y] - row;
    for (let x = 0; x < width; x++) {
      const column = Math.floor(columns[x]);
      const right = columns[x] - column;
      const upper = at(row, column) * (1 - right) + at(row, column + 1) * right;
      const lower = at(row + 1, column) * (1 - right) + at(row + 1, column + 1) * right;
      bits[y * width + x] = upper * (1 - down) + lower * down >= threshold ? 1 : 0;
    }
  }
  return { left, top, width, height, bits };
}

/** Where the centres of `count` pixels from `first` lie in a mask of `size` cells between `low` and `high`. */
function places(first, count, low, high, size) {
  return Float32Array.from({ length: count }, (_, i) => ((first + i + 0.5 - low) / (high - low)) * size - 0.5);
}

function boxed(box, result) {
  const clamp = (value, most) => Math.min(Math.max(Math.round(value), 0), most);
  const [left, top] = [clamp(box[0], result.width), clamp(box[1], result.height)];
  const width = Math.max(clamp(box[2], result.width) - left, 0);
  const height = Math.max(clamp(box[3], result.height) - top, 0);
  return { left, top, width, height, bits: new Uint8Array(width * height).fill(1) };
}

export function covers(patch, x, y) {
  const [column, row] = [x - patch.left, y - patch.top];
  const inside = column >= 0 && column < patch.width && row >= 0 && row < patch.height;
  return inside && patch.bits[row * patch.width + column] === 1;
}

/** The class of each pixel; of objects, the one of the highest score that covers it. `objects`: those that are shown. */
export function classMap(result, objects, meta) {
  if (result.task === 'segmentation') return result.classes;
  const count = meta.classes.length;
  const map = new (count <= 255 ? Uint8Array : Uint16Array)(result.width * result.height).fill(nothing(count));
  for (const object of [...objects].reverse()) {
    const { left, top, width, height, bits } = patchOf(object, result, meta);
    for (let y = 0; y < height; y++) {
      const start = (top + y) * result.width + left;
      for (let x = 0; x < width; x++) if (bits[y * width + x]) map[start + x] = object.label;
    }
  }
  return map;
}
