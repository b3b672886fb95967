// The worker from the page's side: one model, one picture at a time.

import { Problem } from './download.js';

export class Engine {
  /** onProgress(bytes): of the model, while it is loaded. */
  constructor(meta, onProgress) {
    this.meta = meta;
    this.onProgress = onProgress;
    this.waiting = new Map();
    this.count = 0;
  }

  /** Starts the worker and loads the model, if it is not there yet; {threads}. */
  load() {
    this.loaded ??= this.start().catch((error) => this.failed(error));
    return this.loaded;
  }

  /** {result, seconds} for a picture {rgb, width, height}, at the size `shown`; after an error the worker begins anew. */
  async run(picture, shown) {
    await this.load();
    try {
      return await this.ask('run', { picture, shown }, [picture.rgb.buffer]);
    } catch (error) {
      return this.failed(error);
    }
  }

  failed(error) {
    if (error) this.stop(); // null: it was stopped, and may have begun anew
    throw error;
  }

  /** Ends what is being computed, with an error null. */
  stop() {
    this.worker?.terminate();
    this.worker = this.loaded = undefined;
    for (const { reject } of this.waiting.values()) reject(null);
    this.waiting.clear();
  }

  async start() {
    this.worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
    this.worker.onmessage = ({ data }) => this.answer(data);
    this.worker.onerror = (event) => {
      event.preventDefault?.();
      const problem = new Problem(`the worker stopped${event.message ? `: ${event.message}` : '; is the site whole?'}`);
      for (const { reject } of this.waiting.values()) reject(problem);
      this.waiting.clear();
    };
    const { file, version } = this.meta;
    const url = new URL(`${file}?${version}`, import.meta.url).href; // a new model is not taken from a cache
    return this.ask('load', { meta: this.meta, url });
  }

  ask(task, rest, transfer = []) {
    const id = ++this.count;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, task, ...rest }, transfer);
    });
  }

  answer({ id, value, problem, progress }) {
    if (progress !== undefined) return this.onProgress(progress);
    const { resolve, reject } = this.waiting.get(id) ?? {};
    this.waiting.delete(id);
    if (problem !== undefined) reject?.(new Problem(problem));
    else resolve?.(value);
  }
}
