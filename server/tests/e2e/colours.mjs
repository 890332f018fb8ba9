// What pictures look like, region by region. Rectangles are [x, y, width, height] in pixels.

const canvasOf = (width, height) =>
  Object.assign(document.createElement('canvas'), { width, height }).getContext('2d', { willReadFrequently: true });

/// Mean colours [r, g, b] of `patches` as `video` shows them now.
export function patchColours(video, patches) {
  const context = canvasOf(video.videoWidth, video.videoHeight);
  context.drawImage(video, 0, 0);
  return patches.map(([x, y, width, height]) => {
    const { data } = context.getImageData(x, y, width, height);
    return [0, 1, 2].map(channel => {
      let sum = 0;
      for (let i = channel; i < data.length; i += 4) sum += data[i];
      return Math.round((sum / (width * height)) * 10) / 10;
    });
  });
}

/// Compares each picture of a run with the last one: for avatars that do not move by themselves.
export function movement({ mouth, face }) {
  const BLOCK = 16;
  const lumas = [];
  let context;
  let size;

  // Mean absolute difference of luma in a rectangle.
  const difference = (a, b, [x, y, width, height]) => {
    let sum = 0;
    for (let row = y; row < y + height; row++) {
      for (let i = row * size.width + x, end = i + width; i < end; i++) sum += Math.abs(a[i] - b[i]);
    }
    return sum / (width * height);
  };
  const apart = ([x, y, width, height], left, top) =>
    left + BLOCK <= x || left >= x + width || top + BLOCK <= y || top >= y + height;
  const round = value => Math.round(value * 100) / 100;

  return {
    see(picture) {
      size ??= { width: picture.displayWidth, height: picture.displayHeight };
      context ??= canvasOf(size.width, size.height);
      context.drawImage(picture, 0, 0);
      const { data } = context.getImageData(0, 0, size.width, size.height);
      lumas.push(Uint8Array.from({ length: data.length / 4 }, (_, i) =>
        0.299 * data[i * 4] + 0.587 * data[i * 4 + 1] + 0.114 * data[i * 4 + 2]));
    },
    /// For each picture: the difference inside `mouth`, and that of the block of 16x16 outside `face` that differs most.
    result() {
      const last = lumas.at(-1);
      const blocks = [];
      for (let top = 0; top + BLOCK <= size.height; top += BLOCK) {
        for (let left = 0; left + BLOCK <= size.width; left += BLOCK) {
          if (apart(face, left, top)) blocks.push([left, top, BLOCK, BLOCK]);
        }
      }
      return {
        mouth: lumas.map(luma => round(difference(luma, last, mouth))),
        outside: lumas.map(luma => round(Math.max(...blocks.map(block => difference(luma, last, block))))),
      };
    },
  };
}
