// The camera, one frame at a time.

import { Problem } from './download.js';

const REASONS = {
  NotAllowedError: 'the camera is not allowed: allow it for this page in the browser',
  NotFoundError: 'there is no camera',
  NotReadableError: 'the camera is in use by another program',
};

export class Camera {
  constructor() {
    this.video = Object.assign(document.createElement('video'), { muted: true, playsInline: true });
  }

  get on() {
    return Boolean(this.stream);
  }

  async start() {
    if (!navigator.mediaDevices) throw new Problem('the camera needs https, or a page of this computer (localhost)');
    try {
      const video = { facingMode: 'environment', width: { ideal: 640 }, height: { ideal: 480 } };
      this.stream = await navigator.mediaDevices.getUserMedia({ video });
      this.video.srcObject = this.stream;
      await this.video.play();
    } catch (error) {
      this.stop();
      throw new Problem(REASONS[error.name] ?? `the camera does not start: ${error.message}`);
    }
  }

  stop() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = this.video.srcObject = null;
  }

  /** The frame of now, as an ImageBitmap. */
  frame() {
    return createImageBitmap(this.video);
  }
}
