// Fetches in which what is missing, cut off or not ours is said in one line.

/** What a person can be told as it is. */
export class Problem extends Error {}

/** The site's model.json. */
export async function fetchMeta(url) {
  const response = await fetched(url, { cache: 'no-cache' });
  let meta;
  try {
    meta = await response.json();
  } catch {
    throw new Problem('cannot read model.json: write the site again with convnext-dense export --to web');
  }
  if (meta.format > 1) throw new Problem('the model is of a newer version than this page: write the whole site again');
  return meta;
}

/** A file of `total` bytes as Uint8Array; onProgress(bytes) is called as they come in. */
export async function download(url, total, onProgress) {
  const name = new URL(url, self.location).pathname.split('/').pop();
  const response = await fetched(url);
  const bytes = new Uint8Array(total);
  const reader = response.body.getReader();
  let at = 0;
  for (;;) {
    const { done, value } = await chunk(reader, name);
    if (done) break;
    if (at + value.length <= total) bytes.set(value, at);
    at += value.length;
    onProgress(Math.min(at, total));
  }
  if (at !== total) throw new Problem(`expected ${total} bytes of ${name}, got ${at}: copy the site again, whole`);
  return bytes;
}

async function fetched(url, options) {
  const name = new URL(url, self.location).pathname.split('/').pop();
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new Problem(`cannot load ${name}: is the server still running?`);
  }
  if (!response.ok) throw new Problem(`cannot load ${name} (status ${response.status}): is the site whole?`);
  return response;
}

async function chunk(reader, name) {
  try {
    return await reader.read();
  } catch {
    throw new Problem(`loading ${name} broke off: reload the page`);
  }
}
