// What a person takes along: the picture with its result, the class map, the objects.

/** Offers a blob as a download. */
export function save(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A grey PNG whose values are those of `map`, of 8 or, as Uint16Array or Int32Array, of 16 bits. */
export async function greyPng(map, width, height) {
  const bytes = map instanceof Uint8Array ? 1 : 2;
  const rows = new Uint8Array(height * (1 + width * bytes)); // each row begins with the number of its filter, 0: none
  for (let y = 0; y < height; y++) {
    const start = y * (1 + width * bytes) + 1;
    const row = map.subarray(y * width, (y + 1) * width);
    if (bytes === 1) rows.set(row, start);
    else row.forEach((value, x) => rows.set([value >> 8, value & 255], start + 2 * x));
  }
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8 * bytes); // of colour type 0, grey
  const packed = await new Response(new Blob([rows]).stream().pipeThrough(new CompressionStream('deflate'))).arrayBuffer();
  const signature = new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]);
  const parts = [chunk('IHDR', new Uint8Array(header.buffer)), chunk('IDAT', new Uint8Array(packed)), chunk('IEND', new Uint8Array())];
  return new Blob([signature, ...parts], { type: 'image/png' });
}

function chunk(type, content) {
  const out = new Uint8Array(12 + content.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, content.length);
  out.set(new TextEncoder().encode(type), 4);
  out.set(content, 8);
  view.setUint32(8 + content.length, checksum(out.subarray(4, 8 + content.length)));
  return out;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

/** CRC-32. */
function checksum(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** As JSON in the form of `convnext-dense predict --format json`, without masks: boxes are left, top, width, height. */
export function objectsJson(result, objects, meta, source) {
  const rows = objects.map(({ label, score, box: [left, top, right, bottom] }) => ({
    name: meta.classes[label],
    label,
    score,
    bbox: [left, top, right - left, bottom - top],
  }));
  const content = { source, height: result.height, width: result.width, objects: rows };
  return new Blob([JSON.stringify(content, null, 1)], { type: 'application/json' });
}
