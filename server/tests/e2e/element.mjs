// Embeds <lipcast-avatar> of a running server in a page of another origin, and prints one line of JSON with what it did.
//
//   node element.mjs --url http://127.0.0.1:8080 --origin http://localhost:1234 --speech long.wav
//
// --speech names a recording that the server has, half a minute or more. The origin is only a name: its page comes from here. It must be in the server's `cors`.
import { changes, options, report } from './browser.mjs';

const { url, origin, speech } = options({ url: 'http://127.0.0.1:8080', origin: 'http://localhost:1234' });

const PAGE = `<!doctype html><title>Somebody's page</title>
<script type="module" src="${url}/lipcast-avatar.js"></script>
<lipcast-avatar avatar="linh" speech="${speech}"></lipcast-avatar>`;

// The page above has no address that the browser could tell to be as local as the server's.
const FLAGS = ['--disable-features=LocalNetworkAccessChecks'];

await report(async browser => {
  const page = await browser.newPage();
  const complaints = [];
  page.on('pageerror', error => complaints.push(error.message));
  await page.route(`${origin}/**`, route => route.fulfill({ contentType: 'text/html', body: PAGE }));
  await page.goto(`${origin}/`);
  await page.waitForFunction(() => customElements.get('lipcast-avatar'));
  const element = page.locator('lipcast-avatar');
  await element.evaluate(element => {
    window.events = [];
    for (const name of ['state', 'queue', 'error']) {
      element.addEventListener(name, ({ detail }) => events.push(detail.state ?? detail.waiting ?? detail.error.message));
    }
  });
  const seen = name => page.waitForFunction(name => events.includes(name), name);
  const button = element.locator('button');
  await element.locator('img').waitFor();

  // A click of the viewer's: the picture moves, with sound.
  await button.click();
  await seen('speaking');
  const video = element.locator('video');
  await video.evaluate(async video => {
    while (!video.videoWidth) await new Promise(resolve => setTimeout(resolve, 50));
  });
  const found = await video.evaluate(({ videoWidth: width, videoHeight: height, muted }) => ({ width, height, muted }));
  found.changed = await video.evaluate(changes, 10);
  found.button = await button.isVisible();

  // Twice the same speech: the second one waits.
  found.positions = await element.evaluate(async element => {
    const queued = [await element.speak(), await element.speak()];
    return queued.map(({ position }) => position);
  });
  found.waiting = await element.evaluate(element => element.client.waiting);
  await element.evaluate(element => element.stop());
  found.stopped = await button.textContent();

  // Nobody of that name.
  await element.evaluate(element => element.setAttribute('avatar', 'nobody'));
  await button.click();
  await seen('failed');
  found.failed = await button.textContent();
  return { ...found, events: await page.evaluate(() => events), complaints };
}, FLAGS);
