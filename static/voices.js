// What can be said: the built-in clip, the server's recordings, the viewer's own.

import { Choice, make } from "./choices.js";

/** Named by its missing path. */
const BUILTIN = { name: "Welcome" };

export class Voices {
  /** The chosen clip: `path` is what `audio_path` takes; left out, the built-in clip. */
  chosen = BUILTIN;

  #api;
  #list = document.getElementById("voices");
  #trouble = document.getElementById("voice-trouble");
  #choice;
  #clips = [BUILTIN];

  constructor(api) {
    this.#api = api;
    this.#choice = new Choice(this.#list, (button) => (this.chosen = this.#clips[Number(button.dataset.index)]));
    const input = document.getElementById("voice-file");
    input.addEventListener("change", () => {
      if (input.files[0]) this.add(input.files[0]);
      input.value = "";
    });
    this.#draw();
  }

  /** Reads the recordings the server has. */
  async load() {
    try {
      const answer = await this.#api.get("/v1/speech");
      this.#clips = [{ ...BUILTIN, ...answer.builtin }, ...answer.speech];
    } catch (error) {
      if (error.status !== 404) throw error;
    }
    this.#draw();
  }

  /** Sends a recording of the viewer's and chooses it. */
  async add(file) {
    const text = document.getElementById("voice-add-text");
    const usual = "Upload a recording";
    this.#trouble.hidden = true;
    try {
      if (file.type && !/^(audio|video)\//.test(file.type)) throw new Error(`${file.name} is not a recording.`);
      const clip = await this.#api.upload("/v1/speech", file, (share) => (text.textContent = `Uploading… ${Math.round(share * 100)} %`));
      this.chosen = { name: file.name, ...clip };
      await this.load().catch(() => {});
      if (this.chosen.path !== clip.path) {
        // A server that does not list what it took still plays it.
        this.#clips.push((this.chosen = { name: file.name, ...clip }));
        this.#draw();
      }
    } catch (error) {
      this.#trouble.textContent = error.status === 404 ? "This server does not take recordings." : error.message;
      this.#trouble.hidden = false;
    } finally {
      text.textContent = usual;
    }
  }

  #draw() {
    const rows = this.#clips.map(({ name, path, seconds }, index) => {
      const detail = seconds === undefined ? "" : length(seconds);
      const attributes = { type: "button", role: "radio", class: "voice", "data-index": index, "aria-checked": "false", tabindex: -1, title: path };
      return make("button", attributes, make("b", {}, name ?? path), make("small", {}, detail));
    });
    this.#list.replaceChildren(...rows);
    const at = this.#clips.findIndex(({ path }) => path === this.chosen.path);
    this.#choice.choose(rows[Math.max(at, 0)]);
  }
}

function length(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
