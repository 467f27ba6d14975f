// Owns the tests that everybody can use the page: keyboard, names, contrast, small screens, less motion.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { raise, read, says } from './stage.mjs';

let stage;
before(async () => {
  stage = await raise();
});
after(() => stage?.strike());

/** Presses Tab until `selector` has the focus, and the focus can be seen. */
async function tabTo(page, selector) {
  for (let n = 0; n < 30; n++) {
    await page.keyboard.press('Tab');
    const [there, seen] = await page.evaluate((selector) => {
      const element = document.activeElement;
      return [element.matches(selector), getComputedStyle(element).outlineStyle !== 'none'];
    }, selector);
    if (there) return assert.ok(seen, `the focus on ${selector} can be seen`);
  }
  assert.fail(`Tab does not reach ${selector}`);
}

/** Texts whose contrast is below what AA asks, with what they are. Disabled controls need none. */
function pale() {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const pixel = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => pixel(colour).slice(0, 3).reduce((sum, part, n) => {
    const share = part / 255;
    return sum + [0.2126, 0.7152, 0.0722][n] * (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
  }, 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (pixel(colour)[3] === 255) return colour;
    }
    return 'white';
  };
  const found = [];
  for (const element of document.querySelectorAll('body *:not(script, svg, svg *, option)')) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join('');
    if (!text || !element.checkVisibility() || element.closest(':disabled, .unseen, .skip')) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${text.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return found;
}

test('with the keyboard alone one connects, asks, breaks something and reads the code', async () => {
  const page = await stage.visit();
  await tabTo(page, '#connect');
  await page.keyboard.press('Enter');
  await says(page, '#call-status', /^Connected/);
  await tabTo(page, '#words');
  await page.keyboard.type('Is it free?');
  await page.keyboard.press('Enter');
  await says(page, '#transcript', /I cost nothing\./);
  await tabTo(page, '#log');
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('Enter');
  await says(page, '#log', /"event_id"/);
  await tabTo(page, '#chaos button:nth-child(2)');
  await page.keyboard.press('Space');
  await says(page, '#outcome', /new secret/);
  await page.focus('#tab-try');
  await page.keyboard.press('ArrowRight');
  assert.equal(await page.isVisible('#code'), true);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'tab-code');
});

test('everything that can be used has a name, and every reference leads somewhere', async () => {
  const page = await stage.visit();
  const found = await page.evaluate(() => {
    const name = (element) => element.getAttribute('aria-label') ?? (element.labels?.[0]?.textContent || element.textContent);
    const nameless = [...document.querySelectorAll('button, input, a, [role=log], [role=img], [tabindex="0"]')].filter((element) => !name(element).trim());
    const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
    const twice = ids.filter((id, n) => ids.indexOf(id) !== n);
    const lost = [...document.querySelectorAll('[aria-labelledby], [aria-controls], label[for]')]
      .flatMap((element) => [element.getAttribute('aria-labelledby'), element.getAttribute('aria-controls'), element.getAttribute('for')])
      .filter((id) => id && !ids.includes(id));
    return { nameless: nameless.map(({ outerHTML }) => outerHTML), twice, lost, language: document.documentElement.lang };
  });
  assert.deepEqual(found, { nameless: [], twice: [], lost: [], language: 'en' });
});

for (const colorScheme of ['light', 'dark']) {
  test(`all text has the contrast that AA asks, ${colorScheme}`, async () => {
    const page = await stage.visit({ colorScheme });
    await page.click('#connect');
    await says(page, '#call-status', /^Connected/);
    await page.click('#chaos >> text="500"');
    await says(page, '#outcome', /new secret/);
    await page.click('#chaos >> text="Offline"');
    await says(page, '#outcome', /keeps the secret/);
    await page.mouse.move(0, 0);
    assert.deepEqual(await page.evaluate(pale), []);
    await page.click('#tab-code');
    await page.mouse.move(0, 0);
    assert.deepEqual(await page.evaluate(pale), []);
  });
}

for (const width of [320, 360, 768, 1119, 1280, 2560]) {
  test(`at ${width} px nothing is wider than the screen`, async () => {
    const page = await stage.visit({ viewport: { width, height: 740 }, hash: width === 360 ? '#view=code' : '' });
    if (width !== 360) await page.click('#chaos >> text="500"');
    if (width !== 360) await says(page, '#outcome', /new secret/);
    const wide = await page.evaluate(() => {
      const parts = [...document.querySelectorAll('body, header, .board, .code, .card, .button, .fall li')];
      return parts.filter((part) => part.getBoundingClientRect().right > innerWidth + 0.5).length;
    });
    assert.equal(wide, 0);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  });
}

for (const [width, height, most] of [[360, 740, 2400], [820, 1100, 1700], [1366, 650, 850], [1366, 800, 800]]) {
  test(`at ${width} × ${height} px a long log does not stretch the page`, async () => {
    const page = await stage.visit({ viewport: { width, height } });
    const before = await page.evaluate(() => document.documentElement.scrollHeight);
    await page.click('#connect');
    await says(page, '#transcript', /the price\./);
    const after = await page.evaluate(() => document.documentElement.scrollHeight);
    assert.equal(after, before);
    assert.ok(after <= most, `${after}`);
  });
}

test('who asks for less motion gets none', async () => {
  const page = await stage.visit({ reducedMotion: 'reduce' });
  assert.equal(await page.evaluate(() => getComputedStyle(document.getElementById('dial-left')).transitionDuration), '0s');
  assert.match(await read(page, '#dial-time'), /^\d:\d\d$/);
});
