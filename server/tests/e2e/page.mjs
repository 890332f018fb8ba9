// Uses the server's own page as a visitor does, by its buttons' names, and prints one line of JSON with what it said.
//
//   node page.mjs --url http://127.0.0.1:8080 --speech long.wav --text a.wav
//
// --speech names a recording that the server has, half a minute or more; --text a file here that is none. Start, speak again, a connection that breaks, a file that is refused, stop,
// start.
import { changes, options, report } from './browser.mjs';

const { url, speech, text } = options({ url: 'http://127.0.0.1:8080' });

await report(async browser => {
  const page = await browser.newPage();
  const complaints = [];
  page.on('pageerror', error => complaints.push(error.message));
  await page.addInitScript(() => {
    window.connections = [];
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(...options) {
        super(...options);
        connections.push(this);
      }
    };
  });
  await page.goto(url);
  // Every word of the state line, in order.
  await page.evaluate(() => {
    const badge = document.getElementById('badge-text');
    window.states = [badge.textContent];
    new MutationObserver(() => states.at(-1) === badge.textContent || states.push(badge.textContent)).observe(badge, { childList: true });
  });
  const button = name => page.getByRole('button', { name, exact: true });
  const state = words => page.waitForFunction(words => document.getElementById('badge-text').textContent === words, words);
  const sessions = () => page.evaluate(async () => (await (await fetch('/v1/sessions')).json()).sessions.map(s => s.session_id));
  const clip = page.getByRole('radio', { name: speech });
  await clip.click();

  await button('Start').click();
  await state('Speaking');
  const [first] = await sessions();
  await button('Speak again').click();
  await state('Speaking · 1 queued');
  await button('Speak again').click();
  await state('Speaking · 2 queued');
  const found = { clip: await clip.textContent(), again: await sessions(), changed: await page.locator('#video').evaluate(changes, 10) };
  // The browser gives the connection up; the page makes another to the same session.
  await page.evaluate(() => {
    Object.defineProperty(connections[0], 'connectionState', { value: 'failed' });
    connections[0].dispatchEvent(new Event('connectionstatechange'));
  });
  await page.waitForFunction(() => states.includes('Reconnecting…') && states.at(-1).startsWith('Speaking'));
  found.mended = await page.locator('#video').evaluate(changes, 10);
  found.connections = await page.evaluate(() => connections.map(connection => connection.signalingState));
  found.again.push(...(await sessions()));
  found.same = found.again.every(session => session === first);

  await page.getByLabel('Upload a recording').setInputFiles(text);
  const trouble = page.locator('#voice-trouble');
  await trouble.waitFor();
  found.trouble = await trouble.textContent();

  await button('Stop').click();
  await state('Ready');
  found.stopped = await sessions();
  await button('Start').click();
  await state('Speaking');
  found.started = (await sessions()).length;
  return { ...found, states: await page.evaluate(() => states), complaints };
});
