// Runs inside the page: plays a session and measures it.
//
// Pictures: every frame that arrives is recorded, and decoded onto a canvas when the watching is over (recorder.mjs);
// what the player presents is read for flashes and colours. Sound: every chunk that the player takes from its jitter
// buffer (MediaStreamTrackProcessor). Times are performance.now(), milliseconds, at the instant they leave the player:
// what display and loudspeaker add is not the server's, and a headless browser has neither.
import { barcodeReader, countIds } from './barcode.mjs';
import { movement, patchColours } from './colours.mjs';
import { play, record, ticks } from './recorder.mjs';

export async function measure(options) {
  const { session, start, token, seconds, codec, barcode, marks, moving, flash, patches, relay, say } = options;
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const post = async (path, body) => {
    const reply = await fetch(path, {
      method: 'POST',
      headers: body ? { ...headers, 'content-type': 'application/json' } : headers,
      body: body && JSON.stringify(body),
    });
    const text = await reply.text();
    if (!reply.ok) throw new Error(`${path}: ${reply.status} ${text}`);
    return JSON.parse(text);
  };
  const startedAt = performance.now();
  if (start !== undefined) await post(`/api/webrtc/realtime/start?session_id=${encodeURIComponent(session)}&${start}`);

  const recording = Boolean(barcode || moving);
  const connection = new RTCPeerConnection({ iceServers: [], encodedInsertableStreams: recording });
  const video = document.createElement('video');
  Object.assign(video, { autoplay: true, muted: true, playsInline: true });
  document.body.append(video);
  const remote = new MediaStream();
  video.srcObject = remote;
  let arrived = [];
  connection.ontrack = ({ track, receiver }) => {
    remote.addTrack(track);
    if (!recording) return;
    const frames = record(receiver);
    if (track.kind === 'video') arrived = frames;
  };
  const transceiver = connection.addTransceiver('video', { direction: 'recvonly' });
  connection.addTransceiver('audio', { direction: 'recvonly' });
  if (codec) {
    const all = RTCRtpReceiver.getCapabilities('video').codecs;
    transceiver.setCodecPreferences(all.filter(c => [`video/${codec}`, 'video/rtx'].includes(c.mimeType)));
  }

  // What the player shows and when.
  const frames = [];
  // Only the corner that is read: copying whole pictures would cost frames on a slow machine.
  const corner = (width, height) => {
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const context = canvas.getContext('2d', { willReadFrequently: true });
    return source => {
      context.drawImage(source, 0, 0);
      const { data } = context.getImageData(0, 0, width, height);
      // Mean luma of a rectangle.
      return (x, y, w, h) => {
        let sum = 0;
        for (let row = y; row < y + h; row++) {
          for (let i = (row * width + x) * 4, end = i + w * 4; i < end; i += 4) sum += 0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2];
        }
        return sum / (w * h);
      };
    };
  };
  const readFlash = flash && corner(flash[0] + flash[2], flash[1] + flash[3]);
  const onFrame = (now, frame) => {
    const seen = { at: frame.presentationTime, rtp: frame.rtpTimestamp, number: frame.presentedFrames };
    if (flash) seen.white = readFlash(video)(...flash) > 128;
    frames.push(seen);
    video.requestVideoFrameCallback(onFrame);
  };
  video.requestVideoFrameCallback(onFrame);

  await connection.setLocalDescription(await connection.createOffer());
  const offeredAt = performance.now();
  const answer = await post('/api/webrtc/offer', { session_id: session, sdp: connection.localDescription.sdp, type: 'offer' });
  // Through a relay, media come from its port instead of the server's own.
  const port = / (\d+) typ host/.exec(answer.sdp)?.[1];
  if (relay) answer.sdp = answer.sdp.replaceAll(` ${port} typ host`, ` ${await window.relayOf(port)} typ host`);
  await connection.setRemoteDescription(answer);
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error('no picture came in 20 s')), 20_000));
  await Promise.race([video.play(), late]);
  const firstFrameAfter = performance.now() - offeredAt;

  // Sound: where a loud sample follows 100 ms of quiet, at the instant the player takes it from its jitter buffer.
  // Chunks are read late and unevenly; the promptest one tells how their own clock relates to the page's.
  const clicks = [];
  const readSound = async track => {
    const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
    let quiet = 0;
    let lag = Infinity;
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const plane = new Float32Array(value.numberOfFrames);
      value.copyTo(plane, { planeIndex: 0, format: 'f32-planar' });
      const timestamp = value.timestamp / 1000;
      lag = Math.min(lag, performance.now() - timestamp);
      for (let i = 0; i < plane.length; i++) {
        if (Math.abs(plane[i]) <= 0.2) quiet++;
        else {
          if (quiet > value.sampleRate / 10) clicks.push({ chunk: timestamp + (i * 1000) / value.sampleRate });
          quiet = 0;
        }
      }
      value.close();
      clicks.lag = lag;
    }
  };
  if (flash) readSound(remote.getAudioTracks()[0]);

  let said;
  if (say) {
    const speak = () => (said = post(`/v1/sessions/${encodeURIComponent(session)}/speech`, { path: say.path }));
    setTimeout(speak, say.second * 1000);
  }

  const samples = [];
  const sample = async () => {
    const now = { at: performance.now() };
    (await connection.getStats()).forEach(s => {
      if (s.type === 'inbound-rtp') now[s.kind] = s;
      if (s.type === 'candidate-pair' && s.nominated) now.rtt = s.currentRoundTripTime;
      if (s.type === 'codec' && s.mimeType.startsWith('video')) now.codec = `${s.mimeType} ${s.sdpFmtpLine ?? ''}`.trim();
    });
    samples.push(now);
  };
  const until = performance.now() + seconds * 1000;
  while (performance.now() < until) {
    await new Promise(resolve => setTimeout(resolve, Math.min(1000, until - performance.now())));
    await sample();
  }
  await said;
  const colours = patches && patchColours(video, patches);
  connection.close();

  const last = samples.at(-1);
  const skew = samples
    .filter(s => s.video?.estimatedPlayoutTimestamp && s.audio?.estimatedPlayoutTimestamp)
    .map(s => [Math.round((s.at - startedAt) / 1000), s.video.estimatedPlayoutTimestamp - s.audio.estimatedPlayoutTimestamp]);
  const pick = (from, names) => Object.fromEntries(names.map(name => [name, from?.[name]]));
  const report = {
    codec: last.codec,
    first_frame_ms: Math.round(firstFrameAfter),
    seconds,
    video: pick(last.video, ['framesPerSecond', 'framesReceived', 'framesDecoded', 'framesDropped', 'keyFramesDecoded',
      'freezeCount', 'totalFreezesDuration', 'packetsReceived', 'packetsLost', 'retransmittedPacketsReceived', 'nackCount',
      'pliCount', 'frameWidth', 'frameHeight', 'bytesReceived']),
    audio: pick(last.audio, ['packetsReceived', 'packetsLost', 'concealedSamples', 'silentConcealedSamples', 'jitter',
      'totalSamplesReceived', 'audioLevel']),
    rtt_ms: last.rtt && last.rtt * 1000,
    skew_by_second_ms: skew.map(([second, value]) => [second, Math.round(value * 10) / 10]),
    presented: frames.length,
    skipped_by_the_page: frames.length ? frames.at(-1).number - frames[0].number + 1 - frames.length : null,
  };
  const count = values => values.reduce((counts, value) => ({ ...counts, [value]: (counts[value] ?? 0) + 1 }), {});
  if (recording) {
    const times = [];
    const codes = [];
    const readers = [[16, 16], ...(marks ? [marks] : [])].map(place => barcodeReader(...place));
    const moved = moving && movement(moving);
    report.reordered = await play(arrived, last.codec, (picture, rtp) => {
      times.push(rtp);
      if (barcode) codes.push(readers.map(read => read(picture)));
      moved?.see(picture);
    });
    report.rtp_steps = count(times.slice(1).map((rtp, i) => ticks(times[i], rtp)));
    if (barcode) {
      report.ids = countIds(codes.map(([code]) => code?.id ?? null));
      // For each picture: its place on the clock from the first one on, the frame number and the avatar's frame as the
      // backend had them, and the mark in the avatar's own frame.
      report.pictures = codes.map(([code, mark], i) => [
        ticks(times[0], times[i]) / 3600, code?.id ?? null, code?.avatar ?? null, mark?.id ?? null,
      ]);
    }
    if (moved) report.moved = moved.result();
  } else {
    // Without the frames themselves, the clock of those that were presented.
    report.rtp_steps = count(frames.slice(1).map((frame, i) => ticks(frames[i].rtp, frame.rtp)));
  }
  if (patches) report.colours = colours;
  if (flash) {
    const flashes = frames.filter((frame, i) => frame.white && i > 0 && !frames[i - 1].white);
    for (const click of clicks) click.at = click.chunk + clicks.lag;
    // A click belongs to the nearest flash; positive: the sound comes later than the picture.
    const pairs = clicks.flatMap(click => {
      const nearest = flashes.toSorted((a, b) => Math.abs(a.at - click.at) - Math.abs(b.at - click.at))[0];
      const late = nearest && click.at - nearest.at;
      return nearest && Math.abs(late) < 500 ? [{ second: (click.at - offeredAt) / 1000, late }] : [];
    });
    const settled = pairs.filter(pair => pair.second >= 15).map(pair => pair.late);
    const mean = values => values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;
    report.sync = {
      flashes: flashes.length,
      clicks: clicks.length,
      pairs: pairs.map(pair => [Math.round(pair.second), Math.round(pair.late * 10) / 10]),
      mean_ms: mean(settled),
      worst_ms: settled.length ? Math.max(...settled.map(Math.abs)) : null,
    };
  }
  return report;
}
