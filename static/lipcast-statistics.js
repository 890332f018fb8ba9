// What a WebRTC connection's counters mean to a viewer.

/** Turns a connection's raw counters into figures. */
export class Statistics {
  #connection;
  #last = null;

  constructor(connection) {
    this.#connection = connection;
  }

  /**
   * @returns {Promise<{fps?: number, kbps?: number, rtt?: number, skew?: number, dropped?: number, lost?: number,
   *   freezes?: number, jitterBuffer?: number, codec?: string, width?: number, height?: number}>}
   *   `rtt`, `skew` (picture before sound is positive) and `jitterBuffer` in milliseconds; the counters are totals.
   */
  async sample() {
    const all = [...(await this.#connection.getStats()).values()];
    const inbound = (kind) => all.find((entry) => entry.type === "inbound-rtp" && entry.kind === kind) ?? {};
    const [video, audio] = [inbound("video"), inbound("audio")];
    const pair = all.find((entry) => entry.type === "candidate-pair" && entry.nominated) ?? {};
    const codec = all.find((entry) => entry.id === video.codecId)?.mimeType?.replace("video/", "");
    const bytes = (video.bytesReceived ?? 0) + (audio.bytesReceived ?? 0);
    const before = this.#last;
    this.#last = { bytes, at: video.timestamp };
    const seconds = before ? (video.timestamp - before.at) / 1000 : 0;
    const [picture, sound] = [video.estimatedPlayoutTimestamp, audio.estimatedPlayoutTimestamp];
    return {
      fps: video.framesPerSecond,
      kbps: seconds > 0 ? ((bytes - before.bytes) * 8) / 1000 / seconds : undefined,
      rtt: pair.currentRoundTripTime === undefined ? undefined : pair.currentRoundTripTime * 1000,
      skew: picture && sound ? picture - sound : undefined,
      dropped: video.framesDropped,
      lost: (video.packetsLost ?? 0) + (audio.packetsLost ?? 0),
      freezes: video.freezeCount,
      jitterBuffer: video.jitterBufferEmittedCount ? (video.jitterBufferDelay / video.jitterBufferEmittedCount) * 1000 : undefined,
      codec,
      width: video.frameWidth,
      height: video.frameHeight,
    };
  }
}
