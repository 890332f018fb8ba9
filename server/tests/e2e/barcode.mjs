// The probe backend's barcode, and what a run of them says.

/// Reads the barcode whose first block lies at (left, top) of a picture: `{ id, avatar }`, or null. Rows of 8 squares of
/// 16 pixels, the highest bit first.
export function barcodeReader(left, top) {
  const canvas = Object.assign(document.createElement('canvas'), { width: 128, height: 112 });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  return picture => {
    context.drawImage(picture, left, top, 128, 112, 0, 0, 128, 112);
    return decode(context.getImageData(0, 0, 128, 112).data);
  };
}

function decode(data) {
  // Mean luma of the middle of a square.
  const cell = (row, column) => {
    let sum = 0;
    for (let y = row * 16 + 4; y < row * 16 + 12; y++) {
      for (let i = (y * 128 + column * 16 + 4) * 4, end = i + 32; i < end; i += 4) {
        sum += 0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2];
      }
    }
    return sum / 64;
  };
  const rows = Array.from({ length: 7 }, (_, row) => Array.from({ length: 8 }, (_, column) => cell(row, column)));
  const finder = [1, 0, 1, 0, 1, 1, 0, 0];
  const white = Math.min(...rows[0].filter((_, i) => finder[i]));
  const black = Math.max(...rows[0].filter((_, i) => !finder[i]));
  if (white - black < 60) return null;
  const bytes = rows.slice(1).map(row => row.reduce((sum, value) => sum * 2 + (value > (white + black) / 2 ? 1 : 0), 0));
  const check = bytes.pop();
  let crc = 0xff;
  for (const value of bytes) {
    crc ^= value;
    for (let i = 0; i < 8; i++) crc = ((crc << 1) ^ (crc & 0x80 ? 0x07 : 0)) & 0xff;
  }
  return crc === check ? { id: (bytes[0] << 16) | (bytes[1] << 8) | bytes[2], avatar: (bytes[3] << 8) | bytes[4] } : null;
}

/// Counts over the ids of pictures in their order; null where a picture has none.
export function countIds(all) {
  const ids = all.filter(id => id !== null);
  const jumps = ids.slice(1).map((id, i) => id - ids[i]);
  return {
    read: ids.length,
    first: ids[0],
    last: ids.at(-1),
    repeated: jumps.filter(jump => jump === 0).length,
    backwards: jumps.filter(jump => jump < 0).length,
    missed: jumps.filter(jump => jump > 1).reduce((sum, jump) => sum + jump - 1, 0),
    without: all.length - ids.length,
  };
}
