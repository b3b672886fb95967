// The model, in a thread of its own, so that the page answers while it computes.
// Messages: {id, task, ...} in; {id, value}, {id, problem: line} or {progress: bytes} out.

import { Problem, download } from './download.js';
import { fitted, toResult } from './results.js';

const MOST_THREADS = 8;
let ort, session, meta;

const tasks = {
  async load(message) {
    meta = message.meta;
    ort = await runtime();
    const bytes = await download(message.url, meta.bytes, (progress) => postMessage({ progress }));
    try {
      session = await ort.InferenceSession.create(bytes, { executionProviders: ['wasm'], graphOptimizationLevel: 'all' });
    } catch (error) {
      throw memoryProblem(error, 'for the model') ?? new Problem(`the model cannot be opened: ${line(error)}`);
    }
    return { threads: ort.env.wasm.numThreads };
  },

  /** picture: {rgb, width, height}; the result is brought to the size [width, height] in `shown`. */
  async run({ picture, shown }) {
    const { rgb, width, height } = picture;
    const begun = performance.now();
    const input = new ort.Tensor('uint8', rgb, [1, height, width, 3]);
    const names = Object.keys(meta.outputs).filter((name) => name !== 'logits' && session.outputNames.includes(name));
    let outputs;
    try {
      outputs = await session.run({ [meta.input.name]: input }, names);
    } catch (error) {
      const smaller = `for a picture of ${width} × ${height}; choose a smaller longest side`;
      throw memoryProblem(error, smaller) ?? new Problem(`the model stopped: ${line(error)}`);
    }
    const seconds = (performance.now() - begun) / 1000;
    const result = fitted(toResult(outputs, meta, width, height), ...shown);
    for (const output of Object.values(outputs)) output.dispose();
    return { result, seconds };
  },
};

/** onnxruntime-web; several threads share memory, which browsers allow to isolated pages alone. */
async function runtime() {
  let module;
  try {
    module = await import('./onnxruntime/ort.wasm.min.mjs');
  } catch {
    throw new Problem('cannot load onnxruntime-web: is the folder onnxruntime of the site whole?');
  }
  module.env.wasm.wasmPaths = new URL('./onnxruntime/', import.meta.url).href;
  module.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS) : 1;
  module.env.logLevel = 'error';
  return module;
}

function memoryProblem(error, what) {
  return /bad_alloc|memory|alloc|OOM|would require more than|SafeInt/i.test(line(error)) ? new Problem(`out of memory ${what}`) : null;
}

function line(error) {
  return String(error?.message ?? error).replace(/\s+/g, ' ').slice(0, 300);
}

onmessage = async ({ data: { id, task, ...rest } }) => {
  try {
    postMessage({ id, value: await tasks[task](rest) });
  } catch (error) {
    postMessage({ id, problem: error instanceof Problem ? error.message : `unforeseen: ${line(error)}` });
  }
};
