// The faces to choose from, and new ones from the viewer's own pictures.

import { Choice, make } from "./choices.js";

/** How a job ends that the viewer stopped: nothing to complain about. */
const CANCELLED = new Error("cancelled");

export class Faces {
  /** The chosen face: {id, image}; `null` leaves the choice to the server. */
  chosen = null;

  #api;
  #onChoose;
  #list = document.getElementById("faces");
  #trouble = document.getElementById("face-trouble");
  #choice;
  #images = new Map();
  #jobs = new Map();

  constructor(api, { onChoose }) {
    this.#api = api;
    this.#onChoose = onChoose;
    this.#choice = new Choice(this.#list, (button) => this.#choose(button.dataset.id));
  }

  /** Reads the faces the server has. */
  async load() {
    let answer;
    try {
      answer = await this.#api.get("/v1/avatars");
    } catch (error) {
      // An older server without this list still has a face of its own.
      if (error.status !== 404) throw error;
      answer = { avatars: [] };
    }
    await Promise.all(answer.avatars.map((avatar) => this.#fetchImage(avatar)));
    this.#draw(answer.avatars);
    const wanted = this.chosen?.id ?? answer.current ?? answer.avatars[0]?.id;
    const button = this.#button(wanted) ?? this.#list.querySelector("[role=radio]");
    if (button) this.#choice.choose(button);
  }

  /** Takes a picture or video of the viewer's and has the server make a face of it. */
  async add(file) {
    this.#trouble.hidden = true;
    const id = this.#freeName(file.name);
    const label = make("span", {}, "Uploading…");
    const bar = make("progress", { max: 1, "aria-label": `Making ${id}` });
    const cancel = make("button", { type: "button", class: "cancel", hidden: true, "aria-label": `Stop making ${id}` }, "Cancel");
    const tile = make("div", { class: "face job", role: "status" }, label, bar, cancel);
    this.#jobs.set(id, tile);
    this.#list.querySelector(".new").before(tile);
    tile.scrollIntoView({ block: "nearest", inline: "nearest" });
    try {
      const path = `/v1/avatars/${encodeURIComponent(id)}/source`;
      const { job } = await this.#api.upload(path, file, (share) => (bar.value = share * 0.3));
      cancel.addEventListener("click", () => {
        cancel.disabled = true;
        this.#api.post(`/v1/jobs/${encodeURIComponent(job)}/cancel`).catch(() => (cancel.disabled = false));
      });
      cancel.hidden = false;
      const remark = await this.#follow(job, label, bar);
      this.#forget(id);
      this.chosen = { id };
      await this.load();
      if (remark) this.#tell(`The face is there, but ${remark}.`);
    } catch (error) {
      this.#forget(id);
      if (error === CANCELLED) return;
      // The server names the file as it keeps it, a hash in front; the viewer knows it without.
      const text = error.status === 404 ? "This server does not take new faces." : error.message;
      this.#tell(text.replace(/\b[0-9a-f]{12}-/g, ""));
    }
  }

  #tell(trouble) {
    this.#trouble.textContent = trouble;
    this.#trouble.hidden = false;
  }

  async #follow(job, label, bar) {
    for (;;) {
      const record = await this.#api.get(`/v1/jobs/${encodeURIComponent(job)}`);
      bar.value = 0.3 + 0.7 * (record.progress ?? 0);
      label.textContent = record.stage ? `${record.stage[0].toUpperCase()}${record.stage.slice(1).replaceAll("_", " ")}…` : "Working…";
      if (record.state === "succeeded") return record.detail;
      if (record.state === "cancelled") throw CANCELLED;
      if (record.state === "failed") throw new Error(record.detail ?? "No face could be made of this file.");
      await new Promise((resolve) => setTimeout(resolve, 400));
    }
  }

  async #fetchImage({ id, poster }) {
    if (!poster || this.#images.has(id)) return;
    // Fetched rather than linked: an <img> cannot show a token.
    const image = await this.#api.get(poster, { as: "blob" }).catch(() => null);
    if (image) this.#images.set(id, URL.createObjectURL(image));
  }

  #draw(avatars) {
    const faces = avatars.map(({ id, width, height, fps, frame_count, frames }) => {
      const image = this.#images.get(id);
      const seconds = ((frame_count ?? frames ?? 0) / (fps || 25)).toFixed(1);
      const title = width ? `${width} × ${height}, ${seconds} s at ${fps} fps` : undefined;
      const attributes = { type: "button", role: "radio", class: image ? "face" : "face blank", "data-id": id, "aria-checked": "false", tabindex: -1, title };
      return make("button", attributes, ...(image ? [make("img", { src: image, alt: "" })] : []), make("span", {}, id));
    });
    this.#list.replaceChildren(...faces, ...this.#jobs.values(), this.#newTile());
  }

  #newTile() {
    const input = make("input", { type: "file", accept: "video/*,image/*", "aria-label": "New face from a photo or video" });
    input.addEventListener("change", () => {
      if (input.files[0]) this.add(input.files[0]);
      input.value = "";
    });
    const plus = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    plus.setAttribute("viewBox", "0 0 24 24");
    plus.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", "M12 5v14M5 12h14");
    plus.append(path);
    return make("label", { class: "face new" }, input, plus, make("span", {}, "New face"));
  }

  #choose(id) {
    this.chosen = { id, image: this.#images.get(id) ?? null };
    this.#onChoose(this.chosen);
  }

  #button(id) {
    return [...this.#list.querySelectorAll("[role=radio]")].find((button) => button.dataset.id === id);
  }

  #forget(id) {
    this.#jobs.get(id)?.remove();
    this.#jobs.delete(id);
  }

  /** A name the server takes, from a file's name, that no other face has. */
  #freeName(file) {
    const plain = file.replace(/\.[^.]*$/, "").normalize("NFKD").replace(/[^A-Za-z0-9_-]+/g, "-");
    const base = plain.replace(/^-+|-+$/g, "").slice(0, 40).toLowerCase() || "face";
    const taken = (name) => this.#jobs.has(name) || this.#button(name);
    let name = base;
    for (let i = 2; taken(name); i++) name = `${base}-${i}`;
    return name;
  }
}
