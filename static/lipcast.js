// Lipcast in a page: start a session, show it in a <video>, hear how it goes, stop it.
//
//   import { LipcastClient } from "./lipcast.js";
//   const client = new LipcastClient({ video: document.querySelector("video") });
//   client.addEventListener("state", (event) => console.log(event.detail.state));
//   await client.start({ avatarId: "linh" });   // audioPath left out: the built-in clip
//   await client.stop();
//
// Events (CustomEvent, see `detail`):
//   state  {state, previous}   one of STATES
//   stats  what `Statistics.sample` returns, once a second while connected
//   error  {error}             a LipcastError; the state is "failed" then
//
// No dependencies. Works from any origin the server's `cors` setting allows.

/** What a client goes through, in order; "stopped" and "failed" can follow any of them. */
export const STATES = ["new", "checking", "preparing", "starting", "connecting", "idle", "speaking", "stopped", "failed"];

/** Why a call failed, in words for the viewer. */
export class LipcastError extends Error {
  /**
   * @param {string} message what to tell the viewer
   * @param {{status?: number, retryAfter?: number, cause?: unknown}} [more] HTTP status (0: not reached), seconds to wait
   */
  constructor(message, { status = 0, retryAfter = 0, cause } = {}) {
    super(message, { cause });
    this.name = "LipcastError";
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** Calls a Lipcast server over HTTP; JSON in and out, every failure a LipcastError. */
export class LipcastApi {
  /** @param {{baseUrl?: string, token?: string | null}} [options] `baseUrl` without a slash at the end */
  constructor({ baseUrl = "", token = null } = {}) {
    this.baseUrl = baseUrl;
    this.token = token;
  }

  get(path, options) {
    return this.request("GET", path, options);
  }

  post(path, options) {
    return this.request("POST", path, options);
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {{query?: object, json?: unknown, signal?: AbortSignal, as?: "json" | "blob", keepalive?: boolean}} [options]
   */
  async request(method, path, { query, json, signal, as = "json", keepalive = false } = {}) {
    const headers = this.headers();
    if (json !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
      const body = json === undefined ? undefined : JSON.stringify(json);
      response = await fetch(this.url(path, query), { method, headers, body, signal, keepalive });
    } catch (cause) {
      if (signal?.aborted) throw cause;
      throw new LipcastError("The server cannot be reached. Is it still running?", { cause });
    }
    if (!response.ok) throw await failure(response);
    return as === "blob" ? response.blob() : response.json();
  }

  /** Sends one file as a form, telling `onProgress(share)` how much has gone, 0 to 1. */
  upload(path, file, onProgress = () => {}) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", this.url(path));
      for (const [name, value] of Object.entries(this.headers())) request.setRequestHeader(name, value);
      request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
      request.onerror = () => reject(new LipcastError("The upload broke off. Check the connection and try again."));
      request.onload = async () => {
        const response = new Response(request.response, { status: request.status });
        response.ok ? resolve(await response.json()) : reject(await failure(response));
      };
      const form = new FormData();
      form.append("file", file, file.name);
      request.send(form);
    });
  }

  url(path, query = {}) {
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
    const text = new URLSearchParams(given).toString();
    return this.baseUrl + path + (text ? `?${text}` : "");
  }

  headers() {
    return this.token ? { Authorization: `Bearer ${this.token}` } : {};
  }
}

/** One performance: a session on the server and the connection that shows it. A client is started once. */
export class LipcastClient extends EventTarget {
  #api;
  #video;
  #connection = null;
  #abort = new AbortController();
  #timers = [];
  #started = false;

  /** @param {{api?: LipcastApi, baseUrl?: string, token?: string | null, video?: HTMLVideoElement}} [options] */
  constructor({ api, baseUrl, token, video } = {}) {
    super();
    this.#api = api ?? new LipcastApi({ baseUrl, token });
    this.#video = video ?? null;
    this.state = "new";
    this.sessionId = null;
    /** The server's answer to the start: `backend`, `mode` ("model" or "demo"), `fps`, `avatar_id`. */
    this.session = null;
    this.stream = new MediaStream();
  }

  /**
   * Starts a session and connects to it. Resolves when the connection is made; the picture follows at once.
   * @param {{avatarId?: string, videoPath?: string, audioPath?: string, sessionId?: string}} [what]
   *   `videoPath`: what the avatar is prepared from if the server does not have it yet;
   *   `audioPath`: left out, the built-in clip; "", nothing yet.
   */
  async start({ avatarId, videoPath, audioPath, sessionId = newSessionId() } = {}) {
    if (this.state !== "new") throw new LipcastError("This client was started before; make a new one.");
    this.sessionId = sessionId;
    const { signal } = this.#abort;
    try {
      this.#become("checking");
      const status = await this.#api.get("/api/webrtc/musetalk/status", { signal });
      if (videoPath && avatarId && !status.loaded_avatars?.includes(avatarId)) {
        this.#become("preparing");
        const query = { avatar_id: avatarId, video_path: videoPath };
        const prepared = await this.#api.post("/api/webrtc/avatar/prepare", { query, signal });
        if (prepared.status !== "success") throw new LipcastError(prepared.detail ?? "The avatar could not be prepared.");
      }
      this.#become("starting");
      const query = { session_id: sessionId, avatar_id: avatarId, audio_path: audioPath };
      this.#started = true;
      this.session = await this.#api.post("/api/webrtc/realtime/start", { query, signal });
      this.#become("connecting");
      await this.#connect(signal);
    } catch (cause) {
      if (signal.aborted) return;
      await this.#fail(cause);
      throw cause;
    }
  }

  /** Ends the session and the connection. Safe to call at any time, more than once. */
  async stop() {
    if (this.state === "stopped") return;
    const running = this.#started;
    this.#close();
    this.#become("stopped");
    if (running) await this.#end();
  }

  async #connect(signal) {
    const connection = new RTCPeerConnection({ iceServers: [] });
    this.#connection = connection;
    connection.addTransceiver("video", { direction: "recvonly" });
    connection.addTransceiver("audio", { direction: "recvonly" });
    connection.addEventListener("track", ({ track }) => {
      this.stream.addTrack(track);
      if (this.#video && this.#video.srcObject !== this.stream) this.#video.srcObject = this.stream;
    });
    const connected = this.#watch(connection);
    // The offer goes out without candidates: the server answers with all of its own.
    await connection.setLocalDescription(await connection.createOffer());
    const { sdp, type } = connection.localDescription;
    const json = { session_id: this.sessionId, sdp, type };
    const answer = await this.#api.post("/api/webrtc/offer", { json, signal });
    await connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    await connected;
    this.#become("idle");
    const statistics = new Statistics(connection);
    this.#every(1000, async () => this.#emit("stats", { ...(await statistics.sample()), ...(await this.#report()) }));
    this.#every(500, () => this.#follow());
  }

  /** Resolves once the connection is made; a connection that breaks later fails the client. */
  #watch(connection) {
    return new Promise((resolve, reject) => {
      const patience = setTimeout(
        () => reject(new LipcastError("No connection to the media port within 15 seconds. A firewall may block UDP.")),
        15_000,
      );
      connection.addEventListener("connectionstatechange", () => {
        const state = connection.connectionState;
        if (state === "connected") {
          clearTimeout(patience);
          resolve();
        }
        if (state === "failed" || state === "closed") {
          clearTimeout(patience);
          const lost = new LipcastError("The connection to the avatar was lost.");
          reject(lost);
          if (state === "failed" && (this.state === "idle" || this.state === "speaking")) this.#fail(lost);
        }
      });
      this.#abort.signal.addEventListener("abort", () => clearTimeout(patience));
    });
  }

  /** Asks whether the avatar is speaking. */
  async #follow() {
    const path = `/api/webrtc/realtime/status/${encodeURIComponent(this.sessionId)}`;
    const status = await this.#api.get(path, { signal: this.#abort.signal });
    if (this.state !== "idle" && this.state !== "speaking") return;
    if (!status.exists) return this.#fail(new LipcastError("The server ended this session."));
    this.#become(status.is_generating ? "speaking" : "idle");
  }

  /** The server's own counters; not every caller may read them. */
  async #report() {
    try {
      const path = `/v1/sessions/${encodeURIComponent(this.sessionId)}`;
      const report = await this.#api.get(path, { signal: this.#abort.signal });
      return { held: report.held_frames, viewers: report.viewers };
    } catch {
      return {};
    }
  }

  #every(milliseconds, work) {
    let busy = false;
    const timer = setInterval(async () => {
      if (busy) return;
      busy = true;
      // A lost poll is no trouble by itself: the connection tells when it breaks.
      await work().catch(() => {});
      busy = false;
    }, milliseconds);
    this.#timers.push(timer);
  }

  async #fail(error) {
    if (this.state === "failed" || this.state === "stopped") return;
    const running = this.#started;
    this.#close();
    this.#become("failed");
    this.#emit("error", { error });
    if (running) await this.#end();
  }

  #end() {
    this.#started = false;
    const query = { session_id: this.sessionId };
    return this.#api.post("/api/webrtc/realtime/stop", { query, keepalive: true }).catch(() => {});
  }

  #close() {
    this.#timers.forEach(clearInterval);
    this.#abort.abort();
    this.#connection?.close();
    this.#connection = null;
  }

  #become(state) {
    if (state === this.state) return;
    const previous = this.state;
    this.state = state;
    this.#emit("state", { state, previous });
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

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

/** A name for a session that nobody guesses. */
export function newSessionId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `page-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** The server's words for a failure, whichever dialect they come in. */
async function failure(response) {
  const body = await response.json().catch(() => ({}));
  const detail = Array.isArray(body.detail) ? body.detail.map((entry) => entry.msg).join("; ") : body.detail;
  const retryAfter = Number(response.headers.get("Retry-After") ?? 0);
  const usual = {
    401: "This server asks for an access token.",
    403: "This token may not do that.",
    413: "The file is larger than this server accepts.",
    503: "The server is at capacity. Try again in a moment.",
  };
  // What a missing token's reply says is meant for programmers.
  const message = (response.status !== 401 && detail) || usual[response.status] || body.title || `The server answered ${response.status}.`;
  return new LipcastError(message, { status: response.status, retryAfter });
}
