// From a file, a frame or what was pasted to the bytes that the model gets: the picture's own, no colour profile applied.

import { Problem } from './download.js';

/** An ImageBitmap, turned by its EXIF orientation. */
export async function opened(blob) {
  const name = blob.name || 'the picture';
  try {
    return await createImageBitmap(blob, {
      colorSpaceConversion: 'none',
      premultiplyAlpha: 'none',
      imageOrientation: 'from-image',
    });
  } catch {
    throw new Problem(`cannot read ${name} as a picture: choose a PNG, JPEG, WebP, AVIF, GIF or BMP`);
  }
}

/** {rgb, width, height} of an ImageBitmap or a video, brought to that size. */
export function pixels(source, width, height) {
  let rgba;
  try {
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
    context.imageSmoothingQuality = 'high';
    context.drawImage(source, 0, 0, width, height);
    rgba = context.getImageData(0, 0, width, height).data;
  } catch {
    throw new Problem(`this browser has no room for a picture of ${width} × ${height}: choose a smaller longest side`);
  }
  if (source instanceof ImageBitmap && source.width === width && source.height === height && isTransparent(rgba)) {
    rgba = straight(source) ?? rgba;
  }
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0, j = 0; j < rgb.length; i += 4, j += 3) {
    rgb[j] = rgba[i];
    rgb[j + 1] = rgba[i + 1];
    rgb[j + 2] = rgba[i + 2];
  }
  return { rgb, width, height };
}

/** The size to compute at: the model's only one, or the picture's, within `most` pixels a side (0: any). */
export function sizeFor(width, height, fixed, most, least = 1) {
  if (Array.isArray(fixed)) return [fixed[1], fixed[0]];
  const share = most ? Math.min(1, most / Math.max(width, height)) : 1;
  return [Math.max(Math.round(width * share), least), Math.max(Math.round(height * share), least)];
}

function isTransparent(rgba) {
  for (let i = 3; i < rgba.length; i += 4) if (rgba[i] !== 255) return true;
  return false;
}

/** The bytes below transparency, which a canvas multiplies with it and a texture does not; null without WebGL. */
function straight(bitmap) {
  const gl = new OffscreenCanvas(1, 1).getContext('webgl2');
  if (!gl || Math.max(bitmap.width, bitmap.height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return null;
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, gl.getParameter(gl.TEXTURE_BINDING_2D), 0);
  const rgba = new Uint8Array(bitmap.width * bitmap.height * 4);
  gl.readPixels(0, 0, bitmap.width, bitmap.height, gl.RGBA, gl.UNSIGNED_BYTE, rgba);
  const failed = gl.getError() !== gl.NO_ERROR;
  gl.getExtension('WEBGL_lose_context')?.loseContext();
  return failed ? null : rgba;
}
