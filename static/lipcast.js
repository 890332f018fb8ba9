// Lipcast in a page: start a session, show it in a <video>, let it speak, hear how it goes, stop it.
//
//   import { LipcastClient } from "./lipcast.js";
//   const client = new LipcastClient({ video: document.querySelector("video") });
//   client.addEventListener("state", (event) => console.log(event.detail.state));
//   await client.start({ avatarId: "linh" });        // audioPath left out: the built-in clip
//   await client.speak({ audioPath: "hello.wav" });  // queued behind what is being said
//   await client.stop();
//
// Events (CustomEvent, see `detail`):
//   state  {state, previous}   one of STATES
//   queue  {waiting}           utterances that wait behind the one being said, whenever their number changes
//   stats  what `Statistics.sample` returns with the server's `held` and `viewers`, once a second while connected
//   backend  {from, to, reason, frame, preferred}   another backend draws; `to` null: none, the avatar plays on;
//                              `preferred` is the one that the session began with
//   draining {seconds}         the server ends; the session goes on for so long at most
//   error  {error}             a LipcastError; the state is "failed" then
//
// A connection that breaks is made again for as long as the server keeps the session.
// No dependencies, no build step. Works from any origin the server's `cors` setting allows.
// As an element: lipcast-avatar.js.

import { LipcastApi, LipcastError } from "./lipcast-api.js";
import { Statistics } from "./lipcast-statistics.js";

export { LipcastApi, LipcastError, Statistics };

/** What a client goes through, in order; "stopped" and "failed" can follow any of them. */
export const STATES = [
  "new", "checking", "preparing", "starting", "connecting", "idle", "speaking", "reconnecting", "stopped", "failed",
];

/** Pauses before each try to make a broken connection again, milliseconds; the server's `viewer_grace` is longer. */
const RETRIES = [0, 1000, 2000, 4000, 6000];

/** Polls that may go unanswered before the server counts as gone; one is lost now and then. */
const SILENT_POLLS = 4;

/** One performance: a session on the server and the connection that shows it. A client is started once. */
export class LipcastClient extends EventTarget {
  #api;
  #video;
  #connection = null;
  #statistics = null;
  #abort = new AbortController();
  #timers = [];
  #started = false;
  #report = null;
  #silent = 0;
  #spoken = 0;

  /** @param {{api?: LipcastApi, baseUrl?: string, token?: string | null, video?: HTMLVideoElement}} [options] */
  constructor({ api, baseUrl, token, video } = {}) {
    super();
    this.#api = api ?? new LipcastApi({ baseUrl, token });
    this.#video = video ?? null;
    this.state = "new";
    this.sessionId = null;
    /** The server's answer to the start: `backend`, `mode` ("model" or "demo"), `fps`, `avatar_id`. */
    this.session = null;
    /** Utterances that wait behind the one being said. */
    this.waiting = 0;
    this.stream = new MediaStream();
  }

  /** Whether there is a picture, so that `speak` works. */
  get live() {
    return this.state === "idle" || this.state === "speaking";
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
      await this.#connect();
      this.#become("idle");
      this.#every(1000, async () => this.#emit("stats", { ...(await this.#statistics?.sample()), ...this.#counters() }));
      this.#every(500, () => this.#follow());
      this.#listen();
    } catch (cause) {
      if (signal.aborted) return;
      await this.#fail(cause);
      throw cause;
    }
  }

  /**
   * Queues speech behind what is being said. Resolves when the server has taken it.
   * @param {{audioPath?: string}} [what] `audioPath`: left out, the built-in clip
   * @returns {Promise<{utterance_id: number, position: number, seconds?: number}>} `position` 0: heard at once
   */
  async speak({ audioPath } = {}) {
    if (!this.live) throw new LipcastError("There is no running session to speak in.");
    const json = audioPath ? { path: audioPath } : { builtin: true };
    const queued = await this.#api.post(`${this.#path()}/speech`, { json, signal: this.#abort.signal });
    this.#spoken++;
    if (this.live) this.#become("speaking");
    this.#wait(queued.position);
    return queued;
  }

  /** Ends the session and the connection. Safe to call at any time, more than once. */
  async stop() {
    if (this.state === "stopped") return;
    const running = this.#started;
    this.#close();
    this.#become("stopped");
    if (running) await this.#end();
  }

  /** Makes a connection to the session, in place of one that broke; resolves once media can flow. */
  async #connect() {
    const { signal } = this.#abort;
    const connection = new RTCPeerConnection({ iceServers: [] });
    signal.addEventListener("abort", () => connection.close());
    const tracks = [];
    connection.addEventListener("track", ({ track }) => tracks.push(track));
    try {
      connection.addTransceiver("video", { direction: "recvonly" });
      connection.addTransceiver("audio", { direction: "recvonly" });
      const connected = this.#watch(connection);
      // The offer below may fail first; then nobody waits for this.
      connected.catch(() => {});
      // The offer goes out without candidates: the server answers with all of its own.
      await connection.setLocalDescription(await connection.createOffer());
      const { sdp, type } = connection.localDescription;
      const json = { session_id: this.sessionId, sdp, type };
      const answer = await this.#api.post("/api/webrtc/offer", { json, signal });
      await connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
      await connected;
    } catch (error) {
      connection.close();
      throw error;
    }
    // Only now, so that the last picture of the one before stays until there is another.
    const before = this.stream.getTracks();
    for (const track of tracks) this.stream.addTrack(track);
    for (const track of before) this.stream.removeTrack(track);
    if (this.#video && this.#video.srcObject !== this.stream) this.#video.srcObject = this.stream;
    this.#connection?.close();
    this.#connection = connection;
    this.#statistics = new Statistics(connection);
  }

  /** Resolves once the connection is made; one that breaks later is made again. */
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
          reject(new LipcastError("The connection to the avatar was lost."));
          if (connection === this.#connection && this.live) this.#reconnect();
        }
      });
      this.#abort.signal.addEventListener("abort", () => clearTimeout(patience));
    });
  }

  async #reconnect() {
    this.#become("reconnecting");
    let lost = new LipcastError("The connection to the avatar was lost.");
    for (const pause of RETRIES) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      if (this.state !== "reconnecting") return;
      try {
        await this.#connect();
        this.#silent = 0;
        if (this.state === "reconnecting") this.#become("idle");
        return;
      } catch (error) {
        if (this.state !== "reconnecting") return;
        lost = error;
        // The server is there and says no: the session is over.
        if (error.status >= 400 && error.status < 500) {
          return this.#fail(new LipcastError("The server ended this session.", { cause: error }));
        }
      }
    }
    await this.#fail(lost);
  }

  /** Asks how the session is: whether the avatar is speaking, and what waits. */
  async #follow() {
    if (!this.live) return;
    const spoken = this.#spoken;
    try {
      this.#report = await this.#api.get(this.#path(), { signal: this.#abort.signal });
      this.#silent = 0;
    } catch (error) {
      if (!this.live) return;
      if (error.status === 404) return this.#fail(new LipcastError("The server ended this session."));
      if (error.status === 0 && ++this.#silent === SILENT_POLLS) this.#reconnect();
      return;
    }
    // An answer that was on its way while something was queued does not know of it.
    if (!this.live || spoken !== this.#spoken) return;
    this.#become(this.#report.is_generating ? "speaking" : "idle");
    this.#wait(this.#report.utterances - 1);
  }

  /** Hears what happens to the session; a connection that breaks goes on after the last event. */
  async #listen() {
    const { signal } = this.#abort;
    let last = 0;
    while (!signal.aborted) {
      try {
        for await (const { id, event, data } of this.#api.events(`${this.#path()}/events`, { last, signal })) {
          last = id;
          if (event === "backend") this.#emit("backend", { ...data, preferred: this.session.backend });
          if (event === "draining") this.#emit("draining", data);
          if (event === "ended") return this.#fail(new LipcastError(`The server ended this session: ${data.reason}.`));
        }
      } catch (error) {
        // It has no such route, or the session is over; `#follow` notices that.
        if (error.status >= 400 && error.status < 500) return;
      }
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }

  #counters() {
    return { held: this.#report?.held_frames, viewers: this.#report?.viewers };
  }

  #path() {
    return `/v1/sessions/${encodeURIComponent(this.sessionId)}`;
  }

  #every(milliseconds, work) {
    let busy = false;
    const timer = setInterval(async () => {
      if (busy) return;
      busy = true;
      // A lost figure is no trouble by itself: the connection tells when it breaks.
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
    this.#wait(0);
  }

  #become(state) {
    if (state === this.state) return;
    const previous = this.state;
    this.state = state;
    this.#emit("state", { state, previous });
  }

  #wait(waiting) {
    waiting = Math.max(waiting, 0);
    if (waiting === this.waiting) return;
    this.waiting = waiting;
    this.#emit("queue", { waiting });
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** A name for a session that nobody guesses. */
export function newSessionId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `page-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
