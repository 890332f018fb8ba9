// The page: whom to show, what to say, start, stop. What a part looks like is its own module's business.

import { LipcastApi, LipcastClient } from "./lipcast.js";
import { Faces } from "./faces.js";
import { Stage } from "./stage.js";
import { Voices } from "./voices.js";

const TOKEN = "lipcast-token";

const api = new LipcastApi({ token: rememberedToken() });
const stage = new Stage();
const faces = new Faces(api, {
  onChoose(face) {
    stage.poster(face.image);
    nameAgain();
  },
});
const voices = new Voices(api);

/** The performance on the stage. */
let client = null;

stage.onStart = perform;
stage.onStop = () => client?.stop();
stage.onToken = (token) => {
  sessionStorage.setItem(TOKEN, token);
  api.token = token;
  stage.clear();
  look();
};

look();
acceptDrops();
addEventListener("pagehide", () => client?.stop());

/** Reads what the server has to offer. A part that the server lacks stays away; the rest works. */
async function look() {
  const results = await Promise.allSettled([showBackend(), faces.load(), voices.load()]);
  const refused = results.find(({ reason }) => reason?.status === 401 || reason?.status === 0);
  if (refused) stage.complain(refused.reason);
}

async function showBackend() {
  try {
    const { backends } = await api.get("/v1/backends");
    const serving = backends.find((backend) => backend.state === "ready");
    const opening = backends.find((backend) => backend.state === "opening");
    if (serving) stage.backend(serving.name, serving.mode);
    else if (opening) stage.backend(`${opening.name} is loading`, null);
    if (opening) setTimeout(() => showBackend().catch(() => {}), 2000);
  } catch (error) {
    if (error.status !== 404) throw error;
  }
}

/** What the button says: speech for whoever is on the stage, or a performance of somebody else. */
async function perform() {
  stage.clear();
  if (!client?.live || otherFace()) return begin();
  try {
    await client.speak({ audioPath: voices.chosen.path });
  } catch (error) {
    // The session ended a moment ago, unnoticed: a new one does.
    if (error.status === 404) await begin();
    else stage.complain(error);
  }
}

/**
 * Starts a performance. One that is still on the stage goes on until the new one has a picture, so that nothing
 * flickers; where the server has room for one only, it makes way first.
 */
async function begin() {
  const what = { avatarId: faces.chosen?.id, audioPath: voices.chosen.path };
  const before = client?.live ? client : null;
  try {
    await present(what, before);
  } catch (error) {
    if (error.status === 503 && before) {
      await before.stop();
      await present(what, null).catch((again) => stage.complain(again));
    } else {
      stage.complain(error);
    }
  }
}

async function present(what, before) {
  const next = new LipcastClient({ api });
  client = next;
  next.addEventListener("state", ({ detail }) => {
    // While there is another to fall back on, a failure is not the end of the show.
    if (client === next && !(before && detail.state === "failed")) stage.state(detail.state);
  });
  next.addEventListener("queue", ({ detail }) => client === next && stage.queue(detail.waiting));
  next.addEventListener("stats", ({ detail }) => client === next && stage.stats(detail));
  next.addEventListener("backend", ({ detail }) => client === next && stage.cast(detail));
  next.addEventListener("draining", ({ detail }) => client === next && stage.draining(detail.seconds));
  next.addEventListener("error", ({ detail }) => client === next && !before && stage.complain(detail.error));
  try {
    await next.start(what);
  } catch (error) {
    if (before && client === next) {
      client = before;
      stage.state(before.state);
    }
    throw error;
  }
  if (next.state === "stopped") return before?.stop();
  stage.backend(next.session.backend, next.session.mode);
  nameAgain();
  await stage.show(next.stream);
  const former = before;
  before = null;
  await former?.stop();
}

/** The chosen face, when it is not the one on the stage. */
function otherFace() {
  const [shown, wanted] = [client?.session?.avatar_id, faces.chosen?.id];
  return shown && wanted && wanted !== shown ? wanted : null;
}

/** What the button does next: the chosen speech, or somebody else. */
function nameAgain() {
  const other = otherFace();
  stage.again(other ? `Switch to ${other}` : "Speak again");
}

function rememberedToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(TOKEN, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(TOKEN);
}

/** A file dropped anywhere is taken for what it is. */
function acceptDrops() {
  const page = document.body;
  addEventListener("dragover", (event) => {
    event.preventDefault();
    page.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => event.relatedTarget ?? page.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    page.classList.remove("dropping");
    for (const file of event.dataTransfer?.files ?? []) {
      if (file.type.startsWith("audio/")) voices.add(file);
      else faces.add(file);
    }
  });
}
