// Tests that everybody can use the page: keyboard, names, contrast, small screens, any font, less motion.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { callThroughBroker, raise, read, says } from './stage.mjs';

describe('everybody can use it', () => {
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
    const ratio = (ink, ground) => {
      const [a, b] = [light(ink), light(ground)];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    };
    const ground = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const colour = getComputedStyle(at).backgroundColor;
        if (pixel(colour)[3] === 255) return colour;
      }
      return 'white';
    };
    const found = [];
    const check = (text, ink, under) => ratio(ink, under) < 4.5 && found.push(`${text.slice(0, 30)}: ${ratio(ink, under).toFixed(2)}`);
    for (const element of document.querySelectorAll('body *:not(script, svg, svg *, option)')) {
      const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join('');
      if (!text || !element.checkVisibility() || element.closest('[aria-disabled="true"], .unseen, .skip')) continue;
      check(text, getComputedStyle(element).color, ground(element));
    }
    // In a picture a text stands on every shape that was drawn before it and reaches below it, else on what is behind the picture.
    const drawn = [];
    for (const element of document.querySelectorAll('svg text, svg rect')) {
      const box = element.getBoundingClientRect();
      const covers = (other) => other.left < box.right - 1 && other.right > box.left + 1 && other.top < box.bottom - 3 && other.bottom > box.top + 3;
      if (element.localName === 'rect') drawn.push([box, getComputedStyle(element).fill]);
      else if (element.textContent && element.checkVisibility()) {
        const over = drawn.filter(([other]) => covers(other));
        const whole = over.findLast(([other]) => other.left <= box.left && other.right >= box.right);
        const shapes = whole ? over.slice(over.indexOf(whole)) : [...over, [box, ground(element.closest('svg'))]];
        for (const [, fill] of shapes) check(`${element.getAttribute('class')} ${element.textContent}`, getComputedStyle(element).fill, fill);
      }
    }
    return { found, drawn: [...new Set([...document.querySelectorAll('svg text')].map((element) => element.getAttribute('class')))].sort() };
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
    await tabTo(page, '#filters button:nth-child(4)');
    await page.keyboard.press('Enter');
    await tabTo(page, '#log');
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Enter');
    await says(page, '#log', /"event_id"/);
    await tabTo(page, '#chaos button:nth-child(2)');
    await page.keyboard.press('Space');
    await says(page, '#outcome', /new key/);
    await page.focus('#tab-try');
    await page.keyboard.press('ArrowRight');
    assert.equal(await page.isVisible('#code'), true);
    assert.equal(await page.evaluate(() => document.activeElement.id), 'tab-code');
  });

  test('a button that is pressed keeps the focus while it does nothing more, and a press then does nothing', async () => {
    const page = await stage.visit();
    const press = async (selector) => {
      await page.focus(selector);
      await page.keyboard.press('Enter');
      await page.waitForSelector(`${selector}[aria-disabled=true]`);
      assert.ok(await page.evaluate((selector) => document.activeElement.matches(selector), selector), selector);
    };
    await press('#secret-drop');
    await page.click('#connect');
    await says(page, '#call-status', /^Connected/);
    await press('#hang-up');
    await says(page, '#transcript', /The new call knows nothing/);
    await says(page, '#call-status', /^Connected/);
    await page.click('#connect');
    await says(page, '#call-status', /^Not connected/);
    await page.fill('#words', 'Nobody hears this.');
    await page.press('#words', 'Enter');
    await page.focus('#hang-up');
    await page.keyboard.press('Enter');
    assert.equal(await page.inputValue('#words'), 'Nobody hears this.');
    assert.equal((await page.innerText('#log')).match(/The other side drops the call/g).length, 1);
    for (const selector of ['#spend', '#knock']) {
      // An answer that takes its time.
      await page.route('**/token', async (route) => {
        await new Promise((resolve) => setTimeout(resolve, 300));
        await route.fulfill({ status: 403, json: { error: { code: 'blocked' } } });
      });
      await press(selector);
      await page.waitForSelector(`${selector}[aria-disabled=false]`);
    }
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

  test('all text has the contrast that AA asks, in pictures too, light and dark', async () => {
    // So wide that a bar soon has room for its name.
    const page = await stage.visit({ colorScheme: 'light', viewport: { width: 2560, height: 900 } });
    await page.click('#connect');
    await says(page, '#transcript', /the price\./);
    await page.click('#chaos [name="500"]');
    await says(page, '#outcome', /new key/);
    await page.waitForFunction(() => document.querySelector('#lives .life-text.past'));
    await page.click('#chaos >> text="Offline"');
    await says(page, '#outcome', /keeps the current key/);
    await page.mouse.move(0, 0);
    const all = ['broken-text', 'grid-text', 'life-text', 'life-text past', 'now-text'];
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      const { found, drawn } = await page.evaluate(pale);
      assert.deepEqual([found, drawn], [[], all], colorScheme);
    }
    await page.click('#tab-code');
    await page.mouse.move(0, 0);
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      assert.deepEqual((await page.evaluate(pale)).found, [], colorScheme);
    }
  });

  test('a call through the broker has that contrast, too, before and after its warning', async () => {
    const stage = await raise({ settings: ['call.warn_before=45s'] });
    try {
      const page = await stage.visit({ microphone: true });
      await callThroughBroker(page);
      await page.click('#tries [name=talk-on]');
      await says(page, '#leash-note', /^[1-9]/);
      await page.mouse.move(0, 0);
      for (const warns of [':not([data-warns])', '[data-warns]']) {
        for (const colorScheme of ['light', 'dark']) {
          await page.emulateMedia({ colorScheme });
          await page.waitForSelector(`#leash${warns}`);
          assert.deepEqual((await page.evaluate(pale)).found, [], `${colorScheme} ${warns}`);
        }
      }
    } finally {
      await stage.strike();
    }
  });

  test('at no width anything is wider than the screen', async () => {
    const page = await stage.visit();
    await page.click('#chaos [name="500"]');
    await says(page, '#outcome', /new key/);
    const wide = () => {
      const parts = [...document.querySelectorAll('body, header, .board, .code, .card, .button, .fall li')];
      const over = parts.filter((part) => part.getBoundingClientRect().right > innerWidth + 0.5);
      return [over.map(({ className, id }) => className || id), document.documentElement.scrollWidth <= innerWidth];
    };
    for (const view of ['#tab-try', '#tab-code']) {
      await page.click(view);
      for (const width of [641, 736, 768, 1119, 1280, 2560]) {
        await page.setViewportSize({ width, height: 740 });
        assert.deepEqual(await page.evaluate(wide), [[], true], `${width} px`);
      }
    }
  });

  test('a long log does not stretch the page', async () => {
    const page = await stage.visit({ microphone: true });
    const sizes = [[820, 1100, 1700], [1366, 650, 850], [1366, 800, 800]];
    const measure = async () => {
      const heights = [];
      for (const [width, height] of sizes) {
        await page.setViewportSize({ width, height });
        heights.push(await page.evaluate(() => document.documentElement.scrollHeight));
      }
      return heights;
    };
    const before = await measure();
    await page.click('#connect');
    await says(page, '#transcript', /the price\./);
    await says(page, '#line', /RTT/);
    const after = await measure();
    assert.deepEqual(after, before);
    await page.setViewportSize({ width: 1280, height: 800 });
    const [card, button] = await page.evaluate(() => ['.secret', '#secret-drop'].map((selector) => document.querySelector(selector).getBoundingClientRect().bottom));
    assert.equal(Math.round(card - button), 17, 'what is in a card ends where its padding begins');
    sizes.forEach(([width, , most], n) => assert.ok(after[n] <= most, `${after[n]} at ${width}`));
  });

  test('who has colours of their own sees what is selected, bars and the lamp', async () => {
    const page = await stage.visit({ forcedColors: 'active' });
    await says(page, '#health', /healthy/);
    await page.click('#chaos [name=clock]');
    const ground = (selector) => page.evaluate((selector) => getComputedStyle(document.querySelector(selector)).backgroundColor, selector);
    for (const [one, other] of [
      ['#tab-try', '#tab-code'],
      ['#theme :checked + span', '#theme :not(:checked) + span'],
      ['[name=clock]', '[name=ttl]'],
      ['#falls .fill', '#falls .track'],
      ['#limits .fill', '#limits .track'],
      ['#lamp', '.status'],
    ]) assert.notEqual(await ground(one), await ground(other), one);
  });

  test('what a finger has touched does not look as if a mouse were over it', async () => {
    const colours = async (look, press) => {
      const page = await stage.visit(look);
      const border = () => page.evaluate(() => getComputedStyle(document.getElementById('secret-refresh')).borderTopColor);
      const before = await border();
      await page[press]('#secret-refresh');
      return [before, await border()];
    };
    const [tapBefore, tapped] = await colours({ isMobile: true, hasTouch: true }, 'tap');
    assert.equal(tapped, tapBefore);
    const [before, hovered] = await colours({}, 'hover');
    assert.notEqual(hovered, before);
  });

  // The page ships no font. Of those on every test machine, the monospaced one is wider than any that a system uses for text.
  for (const font of ['system-ui', 'DejaVu Sans', 'DejaVu Serif', 'DejaVu Sans Mono']) test(`N01b with ${font} the header is one row, or two below 1024 px, and nothing is cut`, async () => {
    const page = await stage.visit();
    await page.evaluate((font) => document.documentElement.style.setProperty('--text', `'${font}'`), font);
    for (const width of [660, 768, 900, 1023, 1024, 1100, 1280]) {
      await page.setViewportSize({ width, height: 740 });
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${width} px`);
      const rows = await page.evaluate(() => {
        const middle = (one) => one.getBoundingClientRect().top + one.getBoundingClientRect().height / 2;
        const [brand, theme] = ['.brand', '#theme'].map((selector) => middle(document.querySelector(selector)));
        return [Math.abs(brand - theme) < 4, document.querySelector('.bar').clientHeight];
      });
      assert.ok(rows[0], `${width} px`);
      assert.equal(rows[1] < 60, width >= 1024, `${rows[1]} high at ${width} px`);
    }
  });

  test('who asks for less motion gets none', async () => {
    const page = await stage.visit({ reducedMotion: 'reduce' });
    assert.equal(await page.evaluate(() => getComputedStyle(document.getElementById('dial-left')).transitionDuration), '0s');
    assert.match(await read(page, '#dial-time'), /^\d:\d\d$/);
  });
});
