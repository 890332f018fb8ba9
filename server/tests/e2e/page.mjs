// Uses the server's own page as a visitor does, by its buttons' names, and prints one line of JSON with what it said.
//
//   node page.mjs --url http://127.0.0.1:8080 --text a.txt
//
// --text names a file that is no recording. Start, speak again, a file that is refused, stop, start.
import { changes, options, report } from './browser.mjs';

const { url, text } = options({ url: 'http://127.0.0.1:8080' });

await report(async browser => {
  const page = await browser.newPage();
  const complaints = [];
  page.on('pageerror', error => complaints.push(error.message));
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
  const clip = await page.getByRole('radio', { name: /Welcome/ }).textContent();

  await button('Start').click();
  await state('Live · speaking');
  const [first] = await sessions();
  await button('Speak again').click();
  await state('Live · speaking · 1 more to come');
  await button('Speak again').click();
  await state('Live · speaking · 2 more to come');
  const found = { clip, again: await sessions(), changed: await page.locator('#video').evaluate(changes, 10) };
  found.same = found.again.length === 1 && found.again[0] === first;

  await page.getByLabel('Upload a recording').setInputFiles(text);
  const trouble = page.locator('#voice-trouble');
  await trouble.waitFor();
  found.trouble = await trouble.textContent();

  await button('Stop').click();
  await state('Ready');
  found.stopped = await sessions();
  await button('Start').click();
  await state('Live · speaking');
  found.started = (await sessions()).length;
  return { ...found, states: await page.evaluate(() => states), complaints };
});
