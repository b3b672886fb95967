// From the model's outputs to what the page shows.
//
// Segmentation: {task, width, height, classes: Uint8Array | Int32Array, counts: Map from class to pixels}.
// Detection: {task, width, height, objects}, by descending score; an object has score, label, box [left, top, right, bottom],
// and one of soft {width, height, values} (probabilities to be pasted into its box), patch {left, top, width, height, bits}, none.

export function toResult(outputs, meta, width, height) {
  return meta.task === 'detection' ? detection(outputs, meta, width, height) : segmentation(outputs, width, height);
}

/** The result at another size: of the picture that was brought to the model's. */
export function fitted(result, width, height) {
  if (result.width === width && result.height === height) return result;
  const across = width / result.width;
  const down = height / result.height;
  if (result.task === 'segmentation') {
    const classes = nearest(result.classes, result.width, result.height, width, height);
    return { ...result, width, height, classes, counts: counted(classes) };
  }
  const objects = result.objects.map((object) => {
    const [left, top, right, bottom] = object.box;
    return { ...object, box: [left * across, top * down, right * across, bottom * down], patch: fittedPatch(object.patch) };
  });
  return { ...result, width, height, objects };

  function fittedPatch(patch) {
    if (!patch) return undefined;
    const [left, top] = [Math.round(patch.left * across), Math.round(patch.top * down)];
    const wide = Math.max(Math.round((patch.left + patch.width) * across) - left, 1);
    const high = Math.max(Math.round((patch.top + patch.height) * down) - top, 1);
    return { left, top, width: wide, height: high, bits: nearest(patch.bits, patch.width, patch.height, wide, high) };
  }
}

function segmentation(outputs, width, height) {
  const classes = outputs.classes.data.slice();
  return { task: 'segmentation', width, height, classes, counts: counted(classes) };
}

function counted(classes) {
  const counts = new Map();
  for (const label of classes) counts.set(label, (counts.get(label) ?? 0) + 1);
  return counts;
}

function detection(outputs, meta, width, height) {
  const { boxes, scores, labels, masks } = outputs;
  const objects = [];
  for (let i = 0; i < scores.data.length; i++) {
    const label = Number(labels.data[i]);
    if (label < 0) continue;
    const object = { score: scores.data[i], label, box: Array.from(boxes.data.subarray(4 * i, 4 * i + 4)) };
    if (masks && meta.masks === 'crop') object.soft = soft(masks, i);
    if (masks && meta.masks === 'full') object.patch = cut(masks, i, object.box);
    objects.push(object);
  }
  return { task: 'detection', width, height, objects };
}

function soft(masks, index) {
  const [height, width] = masks.dims.slice(-2);
  const values = masks.data.slice(index * height * width, (index + 1) * height * width);
  return { width, height, values };
}

/** Of a mask of the picture's size, the part around the object's box. */
function cut(masks, index, box) {
  const [high, wide] = masks.dims.slice(-2);
  const { left, top, right, bottom } = around(box, wide, high);
  const [width, height] = [right - left, bottom - top];
  const bits = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const start = (index * high + top + y) * wide + left;
    bits.set(masks.data.subarray(start, start + width), y * width);
  }
  return { left, top, width, height, bits };
}

/** The pixels that a box [left, top, right, bottom] can cover, one more on each side. */
export function around([left, top, right, bottom], width, height) {
  const within = (value, most) => Math.min(Math.max(value, 0), most);
  const first = { left: within(Math.floor(left) - 1, width), top: within(Math.floor(top) - 1, height) };
  return {
    ...first,
    right: Math.max(within(Math.ceil(right) + 1, width), first.left),
    bottom: Math.max(within(Math.ceil(bottom) + 1, height), first.top),
  };
}

function nearest(values, width, height, wide, high) {
  const out = new values.constructor(wide * high);
  const columns = Array.from({ length: wide }, (_, x) => Math.floor(((x + 0.5) * width) / wide));
  for (let y = 0; y < high; y++) {
    const row = Math.floor(((y + 0.5) * height) / high) * width;
    for (let x = 0; x < wide; x++) out[y * wide + x] = values[row + columns[x]];
  }
  return out;
}
