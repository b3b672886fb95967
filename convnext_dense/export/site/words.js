// What the page says about a model and its results.

import { percent } from './legend.js';
import { covers, patchOf } from './masks.js';

export const times = (width, height) => `${width} × ${height}`;

export function titleOf(meta) {
  return meta.task === 'detection' ? 'Find objects in a picture' : 'Name every pixel of a picture';
}

export function aboutModel(meta) {
  const size = Array.isArray(meta.input.size) ? `, pictures of ${times(meta.input.size[1], meta.input.size[0])}` : '';
  return `${meta.checkpoint ?? 'Model'}: ${counted(meta.classes.length, 'class', 'classes')}${size}, ${megabytes(meta.bytes)}`;
}

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

export function seconds(value) {
  return value < 10 ? `${value.toFixed(2)} s` : `${value.toFixed(1)} s`;
}

export function aboutThreads(threads) {
  if (threads > 1) return String(threads);
  return crossOriginIsolated ? '1' : '1: the server does not send the headers that allow more';
}

/** A sentence about a result, for the status line. */
export function summary(name, result, rows) {
  const of = `${name}, ${times(result.width, result.height)}`;
  if (!rows.length) return `${of}: nothing found`;
  if (result.task === 'segmentation') {
    return `${of}: ${counted(rows.length, 'class', 'classes')}, most of it ${rows[0].name} (${rows[0].value})`;
  }
  const counts = new Map();
  for (const row of rows) counts.set(row.name, (counts.get(row.name) ?? 0) + 1);
  const each = [...counts].map(([kind, count]) => `${count} × ${kind}`);
  return `${of}: ${counted(rows.length, 'object', 'objects')} (${each.join(', ')})`;
}

/** What is at a place of the picture; `shown`: the objects that are shown. */
export function named(result, x, y, meta, shown) {
  const at = `at ${x}, ${y}`;
  if (result.task === 'segmentation') {
    const label = result.classes[y * result.width + x];
    const share = (result.counts.get(label) ?? 0) / (result.width * result.height);
    return `${meta.classes[label] ?? 'no class'} ${at} (${percent(share)} of the picture)`;
  }
  const here = shown.filter((object) => covers(patchOf(object, result, meta), x, y));
  const names = here.map((object) => `${meta.classes[object.label]} ${object.score.toFixed(2)}`);
  return `${names.join(', ') || 'no object'} ${at}`;
}

const counted = (count, one, more) => `${count} ${count === 1 ? one : more}`;
