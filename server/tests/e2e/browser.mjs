// What the scripts here share: options, a headless Chromium, and how it all ends: one line of JSON, or a reason.
import { chromium } from 'playwright-core';

/** `--name value` pairs of the command line over `defaults`. */
export function options(defaults) {
  const options = { ...defaults };
  for (let i = 2; i < process.argv.length; i += 2) options[process.argv[i].replace(/^--/, '')] = process.argv[i + 1];
  return options;
}

/** Runs `work(browser)` and prints what it returns. Chromium is taken from $CHROMIUM or /usr/bin/chromium. */
export async function report(work, flags = []) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--mute-audio', ...flags],
  });
  let failed = false;
  try {
    console.log(JSON.stringify(await work(browser)));
  } catch (error) {
    failed = true;
    console.error(error.message);
  } finally {
    await browser.close();
  }
  process.exit(failed ? 1 : 0);
}

/** How many of `count` samples of a video's picture, 200 ms apart, differ from the one before. Runs in the page. */
export const changes = async (video, count) => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 80 });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  let [before, changed] = [null, 0];
  for (let i = 0; i <= count; i++) {
    context.drawImage(video, 0, 0, 64, 80);
    const now = context.getImageData(0, 0, 64, 80).data.join();
    changed += before !== null && before !== now;
    before = now;
    await new Promise(resolve => setTimeout(resolve, 200));
  }
  return changed;
};
