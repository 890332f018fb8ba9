// Every video frame that arrives, whole: taken before the player's jitter buffer, which may drop a late one on a busy
// machine, and decoded when the watching is over. So a frame that is missing here did not come.

/// Keeps a copy of what `receiver` gets and hands all of it on to the player. The connection must have been made with
/// `encodedInsertableStreams`.
export function record(receiver) {
  const { readable, writable } = receiver.createEncodedStreams();
  const arrived = [];
  const keep = new TransformStream({
    transform(frame, controller) {
      if (receiver.track.kind === 'video') {
        arrived.push({ type: frame.type, rtp: frame.timestamp, data: frame.data.slice(0) });
      }
      controller.enqueue(frame);
    },
  });
  readable.pipeThrough(keep).pipeTo(writable).catch(() => {}); // The end of the connection.
  return arrived;
}

/// RTP ticks from `a` to `b`, 90 kHz modulo 2^32.
export const ticks = (a, b) => ((b - a + 2 ** 31 + 2 ** 32) % 2 ** 32) - 2 ** 31;

/// Decodes what was recorded, in the order of the media clock, and calls `read(picture, rtp)` for each VideoFrame.
/// `codec` is the mime type. Returns how many frames came after one that they precede.
export async function play(arrived, codec, read) {
  const late = arrived.filter((frame, i) => i > 0 && ticks(arrived[i - 1].rtp, frame.rtp) < 0).length;
  const frames = arrived.toSorted((a, b) => ticks(b.rtp, a.rtp));
  let failure;
  const times = new Map(frames.map((frame, i) => [i, frame.rtp]));
  const decoder = new VideoDecoder({
    output(picture) {
      read(picture, times.get(picture.timestamp));
      picture.close();
    },
    error: error => (failure = error),
  });
  decoder.configure({ codec: codec.startsWith('video/VP8') ? 'vp8' : 'avc1.42e028', optimizeForLatency: true });
  for (const [i, { type, data }] of frames.entries()) {
    decoder.decode(new EncodedVideoChunk({ type, timestamp: i, data }));
    while (decoder.decodeQueueSize > 8 && !failure) await new Promise(resolve => setTimeout(resolve, 1));
  }
  if (frames.length) await decoder.flush();
  if (failure) throw failure;
  decoder.close();
  return late;
}
