// The stage: picture, state, buttons, figures, and what went wrong.

const element = (id) => document.getElementById(id);

const WORDS = {
  new: "Ready",
  checking: "Asking the server…",
  preparing: "Preparing the face…",
  starting: "Starting…",
  connecting: "Connecting…",
  idle: "Live",
  speaking: "Speaking",
  reconnecting: "Reconnecting…",
  stopped: "Ready",
  failed: "Not connected",
};

const BUSY = ["checking", "preparing", "starting", "connecting", "reconnecting"];
const LIVE = ["idle", "speaking"];

/** Figures of a new connection, one a second, in which the browser still lines picture and sound up. */
const SETTLING = 8;

export class Stage {
  /** Called when the viewer wants a performance, an end, or gives a token. */
  onStart = () => {};
  onStop = () => {};
  onToken = () => {};

  #screen = element("screen");
  #video = element("video");
  #poster = element("poster");
  #state = "new";
  #waiting = 0;
  #samples = 0;
  #shape = [4, 5];

  constructor() {
    for (const id of ["start", "again"]) element(id).addEventListener("click", () => this.onStart());
    element("stop").addEventListener("click", () => this.onStop());
    element("message-close").addEventListener("click", () => this.clear());
    element("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.onToken(element("token").value.trim());
    });
    element("mute").addEventListener("click", () => this.#mute(!this.#video.muted));
    element("full").addEventListener("click", () => {
      if (document.fullscreenElement) document.exitFullscreen();
      else this.#screen.requestFullscreen?.();
    });
    setInterval(() => this.#glow(), 1000);
    this.#poster.addEventListener("load", () => {
      // While somebody performs, the stage has the shape of that picture, whoever was chosen for the next one.
      if (!this.#screen.classList.contains("playing")) this.#rest();
      this.#glow();
    });
    this.#video.addEventListener("resize", () => this.#fit(this.#video.videoWidth, this.#video.videoHeight));
    addEventListener("resize", () => this.#fit());
  }

  /** Shows who would appear; `null` when there is no picture of them. */
  poster(image) {
    this.#poster.hidden = !image;
    if (image) this.#poster.src = image;
    // Someone else was chosen: the last picture of a performance that is over goes.
    if (!LIVE.includes(this.#state)) this.#rest();
  }

  /** Puts a stream on the stage and resolves when its first picture is there (or does not come for 5 s). */
  async show(stream) {
    const shown = new Promise((resolve) => {
      this.#video.addEventListener("loadeddata", resolve, { once: true });
      setTimeout(resolve, 5000);
    });
    this.#video.srcObject = stream;
    try {
      await this.#video.play();
    } catch {
      // Some browsers only let sound begin by a click of its own: show the picture, offer the sound.
      this.#mute(true);
      await this.#video.play().catch(() => {});
    }
    await shown;
    this.#screen.classList.add("playing");
  }

  state(state) {
    const wasLive = LIVE.includes(this.#state) || this.#screen.classList.contains("playing");
    this.#state = state;
    this.#screen.dataset.state = state;
    this.#name();
    const [busy, live] = [BUSY.includes(state), LIVE.includes(state)];
    const focused = document.activeElement;
    element("start").hidden = live || (busy && wasLive);
    element("start").disabled = busy;
    element("start").textContent = busy ? "One moment…" : "Start";
    element("again").hidden = !(live || (busy && wasLive));
    element("again").disabled = busy;
    element("stop").hidden = !(live || busy);
    element("mute").hidden = !live;
    element("full").hidden = !live || !document.fullscreenEnabled;
    // A button that vanishes under the keyboard's focus hands it on.
    if (focused?.hidden) element(live ? "again" : "start").focus({ preventScroll: true });
    if (state === "stopped" || state === "failed") {
      this.#notice("");
      this.#rest();
      this.#video.srcObject = null;
      this.stats({});
    }
  }

  /** Tells how many utterances wait behind the one being said. */
  queue(waiting) {
    this.#waiting = waiting;
    this.#name();
  }

  /** Names the button that goes on. */
  again(label) {
    element("again").textContent = label;
  }

  /** Names the backend; `mode` is "model", "demo" or unknown. */
  backend(name, mode) {
    const meaning = {
      model: "The lips are drawn by a model.",
      demo: "The lips are moved from the sound alone, without a model.",
    };
    const chip = element("backend");
    chip.hidden = false;
    chip.title = meaning[mode] ?? "";
    element("backend-name").textContent = mode && !name.startsWith(mode) ? `${name} · ${mode}` : name;
  }

  /** Tells in a line that another backend draws than the one that is preferred. */
  cast({ to, preferred }) {
    if (to) this.backend(to, null);
    const words = to ? `${to} speaks now; ${preferred} is coming back` : `${preferred} is coming back`;
    this.#notice(to === preferred ? "" : words);
  }

  /** Tells that the server ends. */
  draining(seconds) {
    this.#notice(`The server is about to restart: ${seconds} s are left.`);
  }

  stats({ fps, kbps, rtt, skew, dropped, held }) {
    const put = (id, value, good) => {
      const cell = element(id);
      cell.textContent = value;
      cell.className = good === undefined ? "" : good ? "good" : "bad";
    };
    const number = (value, text, digits = 0) => (value === undefined ? "–" : `${value.toFixed(digits)}${text}`);
    put("stat-fps", number(fps, " fps"));
    put("stat-kbps", number(kbps, " kbit/s"));
    put("stat-rtt", number(rtt, " ms", rtt < 10 ? 1 : 0));
    const sign = skew > 0.5 ? "+" : "";
    // Only what is noticeable is marked.
    const off = Math.abs(skew ?? Infinity);
    const verdict = off < 80 ? true : off > 200 && skew !== undefined ? false : undefined;
    this.#samples = skew === undefined ? 0 : this.#samples + 1;
    if (this.#samples <= SETTLING) put("stat-skew", this.#samples ? "settling" : "–");
    else put("stat-skew", `${sign}${skew.toFixed(0)} ms`, verdict);
    put("stat-dropped", dropped === undefined ? "–" : `${dropped} / ${held ?? "–"}`);
  }

  /** Says what went wrong, next to where the picture would be. */
  complain(error) {
    const asks = error.status === 401 || error.status === 403;
    const titles = { 0: "No connection", 401: "Private server", 403: "Not allowed", 503: "No room right now" };
    element("message-title").textContent = titles[error.status] ?? "That did not work";
    const wait = error.retryAfter ? ` Try again in ${error.retryAfter} s.` : "";
    element("message-text").textContent = error.message + wait;
    element("token-form").hidden = !asks;
    element("message").hidden = false;
    if (asks) element("token").focus();
  }

  clear() {
    element("message").hidden = true;
  }

  #notice(text) {
    element("notice").textContent = text;
    element("notice").hidden = !text;
  }

  #name() {
    const more = this.#waiting && this.#state === "speaking" ? ` · ${this.#waiting} queued` : "";
    element("badge-text").textContent = WORDS[this.#state] + more;
  }

  #mute(muted) {
    this.#video.muted = muted;
    element("mute").setAttribute("aria-pressed", String(muted));
    element("mute").querySelector(".hush").textContent = muted ? "Unmute" : "Mute";
  }

  /** Back to the poster, in its shape. */
  #rest() {
    this.#screen.classList.remove("playing");
    this.#fit(this.#poster.naturalWidth, this.#poster.naturalHeight);
  }

  /** Gives the frame the picture's shape, so that its edges are where the picture's are. */
  #fit(width = this.#shape[0], height = this.#shape[1]) {
    if (!width || !height) return;
    this.#shape = [width, height];
    this.#screen.style.setProperty("--shape", `${width} / ${height}`);
    const room = this.#screen.clientWidth / this.#screen.clientHeight / (width / height);
    this.#screen.classList.toggle("roomy", room > 1.02);
    this.#screen.classList.toggle("low", room < 1);
  }

  /** Lets the picture's own colours fill the stage around it. */
  #glow() {
    if (document.hidden) return;
    const canvas = element("glow");
    const source = this.#screen.classList.contains("playing") ? this.#video : this.#poster;
    const [width, height] = [source.videoWidth ?? source.naturalWidth, source.videoHeight ?? source.naturalHeight];
    if (!width || source.hidden) return;
    // Only the outer edge of the picture, so that no face looms behind the face.
    const context = canvas.getContext("2d");
    const [half, edge] = [canvas.width / 2, width * 0.08];
    context.drawImage(source, 0, 0, edge, height, 0, 0, half, canvas.height);
    context.drawImage(source, width - edge, 0, edge, height, half, 0, half, canvas.height);
  }
}
