// Watches a running server in headless Chromium and prints one line of JSON with what arrived.
//
//   node watch.mjs --url http://127.0.0.1:8080 --session demo --seconds 30 [--codec VP8] [--start 'avatar_id=A&audio_path=P']
//
// --start also calls /api/webrtc/realtime/start first, with these parameters; `--start ''` starts with the defaults.
// --measure barcode (the default) reads the frame numbers that the probe backend writes; --measure flash sets its
// flashes against clicks; barcode,flash does both. --flash x,y,width,height tells where flashes are.
// --token T sends a bearer token. Chromium is taken from $CHROMIUM or /usr/bin/chromium.
import { chromium } from 'playwright-core';
import { measure } from './receiver.mjs';

const options = { url: 'http://127.0.0.1:8080', session: 'e2e', seconds: '30' };
for (let i = 2; i < process.argv.length; i += 2) options[process.argv[i].replace(/^--/, '')] = process.argv[i + 1];
const measured = (options.measure ?? 'barcode').split(',');
const numbers = text => text?.split(',').map(Number);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--autoplay-policy=no-user-gesture-required', '--mute-audio'],
});
let failed = false;
try {
  // The server's policy against foreign scripts must not keep the measuring out.
  const page = await browser.newPage({ bypassCSP: true });
  page.on('pageerror', error => console.error('page:', error.message));
  await page.goto(options.url);
  const report = await page.evaluate(measure, {
    session: options.session,
    start: options.start,
    token: options.token,
    seconds: Number(options.seconds),
    codec: options.codec,
    barcode: measured.includes('barcode'),
    flash: measured.includes('flash') ? numbers(options.flash ?? '24,24,112,96') : undefined,
  });
  console.log(JSON.stringify(report));
} catch (error) {
  failed = true;
  console.error(error.message);
} finally {
  await browser.close();
}
process.exit(failed ? 1 : 0);
