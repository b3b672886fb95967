// The picture on the page: three canvases, one on the other, and the cross that names what is under it.

import { paintBoxes, paintCross, paintMask } from './draw.js';

const MOST_HIGH = 0.72; // of the window
const ENLARGED = 1.5; // from here on pixels are shown as squares
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class View {
  /** onName(x, y): a place of the picture that is asked for. */
  constructor(stage, onName) {
    this.stage = stage;
    [this.picture, this.mask, this.lines] = stage.querySelectorAll('canvas');
    this.onName = onName;
    this.cross = null;
    this.boxes = [];
    this.lines.addEventListener('click', (event) => this.clicked(event));
    this.lines.addEventListener('keydown', (event) => this.pressed(event));
    new ResizeObserver(() => this.layOut()).observe(stage.parentElement);
    addEventListener('resize', () => this.layOut());
  }

  /** Shows a picture, without a result. */
  show(source, width, height) {
    if (width !== this.width || height !== this.height) this.cross = null;
    Object.assign(this, { width, height, boxes: [] });
    Object.assign(this.picture, { width, height });
    this.picture.getContext('2d').drawImage(source, 0, 0);
    Object.assign(this.mask, { width: 1, height: 1 });
    this.stage.hidden = false;
    this.layOut();
  }

  /** Shows a result over it; `shown`: labels, or objects. */
  showResult(result, shown, meta) {
    this.meta = meta;
    this.boxes = result.task === 'detection' ? shown : [];
    paintMask(this.mask, result, result.task === 'detection' ? shown : new Set(shown), meta);
    this.drawLines();
  }

  set opacity(share) {
    this.mask.style.opacity = share;
  }

  layOut() {
    if (!this.width) return;
    const room = this.stage.parentElement.clientWidth;
    this.scale = Math.min(room / this.width, (innerHeight * MOST_HIGH) / this.height);
    this.stage.style.width = `${this.width * this.scale}px`;
    this.stage.style.height = `${this.height * this.scale}px`;
    this.stage.classList.toggle('enlarged', this.scale >= ENLARGED);
    this.drawLines();
  }

  drawLines() {
    const dense = devicePixelRatio || 1;
    const scale = this.scale * dense;
    const [width, height] = [Math.round(this.width * scale), Math.round(this.height * scale)];
    Object.assign(this.lines, { width, height });
    const context = this.lines.getContext('2d');
    paintBoxes(context, this.boxes, this.meta, scale, dense);
    if (this.cross) paintCross(context, (this.cross.x + 0.5) * scale, (this.cross.y + 0.5) * scale, dense);
  }

  clicked(event) {
    const area = this.lines.getBoundingClientRect();
    const place = (at, start, length, size) => Math.min(Math.max(Math.floor(((at - start) / length) * size), 0), size - 1);
    const x = place(event.clientX, area.left, area.width, this.width);
    this.moveTo(x, place(event.clientY, area.top, area.height, this.height));
    this.onName(this.cross.x, this.cross.y);
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const middle = { x: this.width >> 1, y: this.height >> 1 };
    if (STEPS[event.key]) {
      const step = event.shiftKey ? 1 : Math.max(Math.round(Math.max(this.width, this.height) / 40), 1);
      const from = this.cross ?? middle;
      this.moveTo(from.x + step * STEPS[event.key][0], from.y + step * STEPS[event.key][1]);
    } else if (event.key === 'Enter' || event.key === ' ') {
      if (!this.cross) this.moveTo(middle.x, middle.y);
      this.onName(this.cross.x, this.cross.y);
    } else if (event.key === 'Escape') {
      this.cross = null;
      this.drawLines();
    } else return;
    event.preventDefault();
  }

  moveTo(x, y) {
    const within = (value, size) => Math.min(Math.max(value, 0), size - 1);
    this.cross = { x: within(x, this.width), y: within(y, this.height) };
    this.drawLines();
  }

  /** The picture with what is drawn over it, at its own size. */
  composed() {
    const canvas = new OffscreenCanvas(this.width, this.height);
    const context = canvas.getContext('2d');
    context.drawImage(this.picture, 0, 0);
    context.globalAlpha = Number(this.mask.style.opacity);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.mask, 0, 0, this.width, this.height);
    context.globalAlpha = 1;
    paintBoxes(context, this.boxes, this.meta, 1, Math.max(Math.max(this.width, this.height) / 800, 0.6));
    return canvas.convertToBlob({ type: 'image/png' });
  }
}
