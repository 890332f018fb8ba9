// <lipcast-avatar>: a talking face as one element of any page. No build step:
//
//   <script type="module" src="http://127.0.0.1:8000/lipcast-avatar.js"></script>
//   <lipcast-avatar avatar="linh"></lipcast-avatar>
//
// Attributes
//   src       the server; left out, the one that this file came from
//   avatar    whom to show; left out, the avatar used last
//   speech    what is said first, a path as GET /v1/speech lists them; left out, the built-in clip; "", nothing yet
//   token     where the server asks for one: a session's own or short-lived, for a page's source can be read
//   autoplay  begins by itself; without sound until the viewer presses the button, as browsers want it
//
// Methods    start(), speak(path?), stop()     all return promises; speak() queues behind what is being said, or
//                                              starts with it; without a path, the built-in clip
// Properties state, client                     as in lipcast.js
// Events     state, queue, stats, error        as in lipcast.js, with the same `detail`
// Parts      video, poster, button             for ::part() in the page's styles
//
// The page's origin must be in the server's `cors` setting, unless the page comes from the same server.

import { LipcastApi, LipcastClient } from "./lipcast.js";

const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
  :host { display: inline-block; position: relative; width: 320px; aspect-ratio: 4 / 5; overflow: hidden; }
  :host([hidden]) { display: none; }
  img, video { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: cover; }
  [hidden] { display: none; }
  button {
    position: absolute; left: 50%; bottom: 16px; translate: -50% 0; min-height: 44px; padding: 0 22px; border: 0;
    border-radius: 99px; background: #fff; color: #12323e; font: 600 16px system-ui, sans-serif; cursor: pointer;
    box-shadow: 0 4px 16px -4px rgb(0 20 30 / 60%);
  }
  button:focus-visible { outline: 3px solid #1d5468; outline-offset: 2px; }
  button:disabled { color: #4f6770; cursor: progress; }
`);

const BUSY = ["checking", "preparing", "starting", "connecting", "reconnecting"];

/** The element. Defined as `lipcast-avatar` when this file is loaded. */
export class LipcastAvatar extends HTMLElement {
  static observedAttributes = ["src", "avatar", "token"];

  /** The performance that is shown, or the last one; `null` before the first. */
  client = null;

  #poster = Object.assign(document.createElement("img"), { alt: "", hidden: true });
  #video = Object.assign(document.createElement("video"), { playsInline: true, hidden: true });
  #button = Object.assign(document.createElement("button"), { type: "button" });

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [STYLE];
    for (const [part, element] of [["poster", this.#poster], ["video", this.#video], ["button", this.#button]]) {
      element.setAttribute("part", part);
    }
    this.#video.setAttribute("aria-label", "The talking avatar");
    this.#button.addEventListener("click", () => this.#press());
    root.append(this.#poster, this.#video, this.#button);
  }

  connectedCallback() {
    this.#draw();
    this.#showPoster();
    if (this.hasAttribute("autoplay")) this.start().catch(() => {});
    addEventListener("pagehide", this.#leave);
  }

  disconnectedCallback() {
    removeEventListener("pagehide", this.#leave);
    this.stop();
  }

  attributeChangedCallback() {
    if (this.isConnected) this.#showPoster();
  }

  /** One of STATES. */
  get state() {
    return this.client?.state ?? "new";
  }

  /** Starts a performance in place of the one that is shown. Resolves when it plays. */
  start() {
    return this.#perform(this.getAttribute("speech") ?? undefined);
  }

  /** Says `path`, or the built-in clip, behind what is being said. Starts with it when nothing is shown. */
  speak(path) {
    return this.client?.live ? this.client.speak({ audioPath: path }) : this.#perform(path);
  }

  /** Ends the performance. */
  async stop() {
    await this.client?.stop();
  }

  async #perform(audioPath) {
    await this.stop();
    const client = new LipcastClient({ api: this.#api() });
    this.client = client;
    for (const name of ["state", "queue", "stats", "error"]) {
      client.addEventListener(name, ({ detail }) => {
        if (client !== this.client) return;
        if (name === "state") this.#draw();
        this.dispatchEvent(new CustomEvent(name, { detail }));
      });
    }
    await client.start({ avatarId: this.getAttribute("avatar") ?? undefined, audioPath });
    if (client !== this.client || !client.live) return;
    this.#video.srcObject = client.stream;
    await this.#play();
    this.#draw();
  }

  #api() {
    const base = this.getAttribute("src") ?? new URL(".", import.meta.url).href;
    return new LipcastApi({ baseUrl: base.replace(/\/+$/, ""), token: this.getAttribute("token") });
  }

  #leave = () => this.stop();

  #press() {
    if (this.client?.live && this.#video.muted) {
      this.#video.muted = false;
      this.#draw();
    } else {
      this.start().catch(() => {});
    }
  }

  /** Plays with sound where the browser lets it, without where it does not. */
  async #play() {
    this.#video.hidden = false;
    try {
      this.#video.muted = false;
      await this.#video.play();
    } catch {
      this.#video.muted = true;
      await this.#video.play().catch(() => {});
    }
  }

  #draw() {
    const [busy, live] = [BUSY.includes(this.state), this.client?.live ?? false];
    const silent = live && this.#video.muted;
    this.#button.hidden = live && !silent;
    this.#button.disabled = busy;
    this.#button.textContent = busy ? "One moment…" : silent ? "Sound on" : this.state === "failed" ? "Try again" : "Start";
    if (!live && !busy) {
      this.#video.hidden = true;
      this.#video.srcObject = null;
    }
  }

  /** Whom the viewer will see. Fetched rather than linked: an <img> cannot show a token. */
  async #showPoster() {
    const [api, avatar] = [this.#api(), this.getAttribute("avatar")];
    try {
      const id = avatar ?? (await api.get("/v1/avatars")).current ?? "linh";
      const image = await api.get(`/v1/avatars/${encodeURIComponent(id)}/poster`, { as: "blob" });
      URL.revokeObjectURL(this.#poster.src);
      this.#poster.src = URL.createObjectURL(image);
      this.#poster.hidden = false;
    } catch {
      // What is wrong is said when it is started.
      this.#poster.hidden = true;
    }
  }
}

customElements.define("lipcast-avatar", LipcastAvatar);
