// Watches a running server in headless Chromium and prints one line of JSON with what arrived.
//
//   node watch.mjs --url http://127.0.0.1:8080 --session demo --seconds 30 [--codec VP8] [--start 'avatar_id=A&audio_path=P']
//
// --start also calls /api/webrtc/realtime/start first, with these parameters; `--start ''` starts with the defaults.
// --say path@second queues more speech after that many seconds.
// --measure barcode (the default) reads the frame numbers that the probe backend writes in every frame that arrives;
// --marks x,y a second barcode at that place, which the avatar's own frames carry. --measure flash sets its flashes
// against clicks; --flash x,y,width,height tells where they are. --measure moving tells how much each frame differs
// from the last one inside --mouth and outside --face (x,y,width,height each). --measure colours tells the mean colours
// of --patches (x,y,width,height;…) as the page shows them at the end. Measures can be joined by commas.
// --relay URL asks there for the port of a relay before the server's port N (GET URL/N), and lets media go through it.
// --token T sends a bearer token. Chromium is taken from $CHROMIUM or /usr/bin/chromium.
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

const options = { url: 'http://127.0.0.1:8080', session: 'e2e', seconds: '30' };
for (let i = 2; i < process.argv.length; i += 2) options[process.argv[i].replace(/^--/, '')] = process.argv[i + 1];
const measured = (options.measure ?? 'barcode').split(',');
const numbers = text => text?.split(',').map(Number);
const [, path, second] = /^(.+)@(\d+)$/.exec(options.say ?? '') ?? [];
const when = (name, value) => (measured.includes(name) ? value : undefined);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--autoplay-policy=no-user-gesture-required', '--mute-audio'],
});
let failed = false;
try {
  // The server's policy against foreign scripts must not keep the measuring out.
  const page = await browser.newPage({ bypassCSP: true });
  page.on('pageerror', error => console.error('page:', error.message));
  if (options.relay) {
    await page.exposeFunction('relayOf', async port => (await fetch(`${options.relay}/${port}`)).text());
  }
  // The measuring scripts, as if they were the server's own.
  await page.route('**/measuring/*.mjs', route => {
    const name = new URL(route.request().url()).pathname.split('/').at(-1);
    return route.fulfill({ path: fileURLToPath(new URL(name, import.meta.url)), contentType: 'text/javascript' });
  });
  await page.goto(options.url);
  const report = await page.evaluate(async options => (await import('/measuring/receiver.mjs')).measure(options), {
    session: options.session,
    start: options.start,
    token: options.token,
    seconds: Number(options.seconds),
    codec: options.codec,
    relay: options.relay,
    say: path && { path, second: Number(second) },
    barcode: measured.includes('barcode'),
    marks: numbers(options.marks),
    flash: when('flash', numbers(options.flash ?? '24,24,112,96')),
    moving: when('moving', { mouth: numbers(options.mouth), face: numbers(options.face) }),
    patches: when('colours', options.patches?.split(';').map(numbers)),
  });
  console.log(JSON.stringify(report));
} catch (error) {
  failed = true;
  // The rest is where in the page it was thrown.
  console.error(error.message.split('\n')[0]);
} finally {
  await browser.close();
}
process.exit(failed ? 1 : 0);
