// A Lipcast server over HTTP: JSON in and out, uploads with progress, and failures in words for the viewer.

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

  /**
   * Server-sent events of `path`, as they come, until the server closes. Not by `EventSource`, which can send no token.
   * @param {string} path
   * @param {{last?: number, signal?: AbortSignal}} [options] `last`: number of the last event that is known
   * @returns {AsyncGenerator<{id: number, event: string, data: any}>}
   */
  async *events(path, { last = 0, signal } = {}) {
    const headers = { ...this.headers(), Accept: "text/event-stream", "Last-Event-ID": String(last) };
    const response = await fetch(this.url(path), { headers, signal, cache: "no-store" });
    if (!response.ok) throw await failure(response);
    let text = "";
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (text + decoder.decode(value, { stream: true })).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const fields = block.split("\n").map((line) => line.match(/^(\w+): ?(.*)$/)?.slice(1)).filter(Boolean);
        const { id, event, data } = Object.fromEntries(fields);
        // The others are comments that keep the connection alive.
        if (data) yield { id: Number(id), event, data: JSON.parse(data) };
      }
    }
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
