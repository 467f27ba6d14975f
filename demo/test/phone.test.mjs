// Tests the page on a phone: one part at a time, tabs by the ARIA pattern, room for fingers.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { callThroughBroker, connect, raise, says } from './stage.mjs';

const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };
const ON_ITS_SIDE = { ...PHONE, viewport: { width: 667, height: 375 } };
const CARDS = { secret: ['secret'], talk: ['talk'], break: ['guards', 'chaos'], events: ['events', 'latency'], code: ['', '', ''] };

/** Which tabs and cards are seen, and how they say so. */
function seen() {
  const tabs = [...document.querySelectorAll('[role=tab]')].filter((tab) => tab.checkVisibility());
  const cards = [...document.querySelectorAll('.card')].filter((card) => card.checkVisibility());
  const panels = [...document.querySelectorAll('[role=tabpanel]')].filter((panel) => panel.checkVisibility());
  return {
    tabs: tabs.map(({ firstChild }) => firstChild.textContent),
    selected: tabs.filter((tab) => tab.ariaSelected === 'true').map(({ id }) => id.slice(4)),
    stops: tabs.filter(({ tabIndex }) => tabIndex === 0).map(({ id }) => id.slice(4)),
    cards: cards.map(({ classList }) => [...classList].at(classList.length > 1 ? -1 : 1) ?? ''),
    named: panels.map((panel) => [panel.id, panel.getAttribute('aria-labelledby')]),
    controls: tabs.map((tab) => tab.getAttribute('aria-controls')),
  };
}

/** What is cut off, too wide, or too small for a finger. */
function cramped() {
  const found = [];
  const shown = (element) => element.checkVisibility() && !element.closest('.unseen, .skip');
  for (const element of document.querySelectorAll('body *:not(script, svg *, option)')) {
    const { left, right, width } = element.getBoundingClientRect();
    if (!shown(element) || !width || element.closest('pre, .log, .transcript')) continue;
    const isCut = element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX !== 'visible';
    if (left < -0.5 || right > innerWidth + 0.5 || isCut) found.push(`cut off: ${element.id || element.className || element.localName}`);
  }
  const fingers = 'button, a[href], select, summary, input:not([type=radio]), label:has([type=radio])';
  for (const element of document.querySelectorAll(fingers)) {
    const { width, height } = element.getBoundingClientRect();
    if (shown(element) && (width < 44 || height < 44)) found.push(`${element.textContent || element.id}: ${width} × ${height}`);
  }
  if (document.documentElement.scrollWidth > innerWidth) found.push('the page scrolls sideways');
  return found;
}

describe('on a phone', () => {
  let stage;
  before(async () => {
    stage = await raise();
  });
  after(() => stage?.strike());

  for (const [name, look] of Object.entries({ 'upright': PHONE, 'on its side': ON_ITS_SIDE })) test(`${name}, four tabs show one part of the board each, and the fifth shows the code`, async () => {
    const page = await stage.visit(look);
    for (const [view, cards] of Object.entries(CARDS)) {
      await page.tap(`#tab-${view}`);
      const panel = view === 'code' ? 'code' : 'try';
      assert.deepEqual(await page.evaluate(seen), {
        tabs: ['1 Key', '2 Talk', '3 Break', 'Events', 'Code'],
        selected: [view],
        stops: [view],
        cards,
        named: [[panel, `tab-${view}`]],
        controls: ['try', 'try', 'try', 'try', 'code'],
      });
      assert.equal(new URL(page.url()).hash, view === 'secret' ? '' : `#view=${view}`);
    }
    await page.setViewportSize({ width: 900, height: 740 });
    await page.click('#tab-try');
    const { tabs, named, cards } = await page.evaluate(seen);
    assert.deepEqual([tabs, named, cards.length], [['Try it', 'Code'], [['try', 'tab-try']], 6]);
  });

  test('arrows walk the tabs around, Home and End jump, and Tab leaves them', async () => {
    const page = await stage.visit({ ...PHONE, hash: '#view=talk' });
    await page.focus('#tab-talk');
    const focused = () => page.evaluate(() => document.activeElement.id);
    for (const [key, id] of [['ArrowRight', 'tab-break'], ['ArrowRight', 'tab-events'], ['ArrowRight', 'tab-code'], ['ArrowRight', 'tab-secret'], ['ArrowLeft', 'tab-code'], ['Home', 'tab-secret'], ['End', 'tab-code'], ['ArrowLeft', 'tab-events']]) {
      await page.keyboard.press(key);
      assert.equal(await focused(), id, key);
      assert.equal(await page.getAttribute(`#${id}`, 'aria-selected'), 'true', key);
    }
    await page.keyboard.press('Tab');
    assert.doesNotMatch(await focused(), /^tab-/);
  });

  test('nothing is cut off and everything has room for a finger, idle and in a call', async () => {
    const page = await stage.visit({ ...PHONE, microphone: true });
    const look = async () => {
      for (const [width, height] of [[320, 740], [360, 740], [640, 740], [667, 375], [932, 430]]) {
        await page.setViewportSize({ width, height });
        for (const view of Object.keys(CARDS)) {
          await page.click(`#tab-${view}`);
          assert.deepEqual(await page.evaluate(cramped), [], `${view} at ${width} px`);
        }
      }
    };
    await look();
    await page.click('#tab-talk');
    await connect(page);
    await says(page, '#line', /RTT/);
    await page.click('#tab-break');
    await page.click('#chaos [name="500"]');
    await says(page, '#outcome', /new key/);
    await look();
  });

  test('in a call through the broker nothing is cut off either, and everything has room for a finger', async () => {
    const page = await stage.visit({ ...PHONE, microphone: true, hash: '#view=talk' });
    await callThroughBroker(page);
    await says(page, '#leash-left', /^[01]:\d\d$/);
    for (const [width, height] of [[320, 740], [360, 740], [390, 844], [640, 740], [667, 375], [932, 430]]) {
      await page.setViewportSize({ width, height });
      assert.deepEqual(await page.evaluate(cramped), [], `at ${width} px`);
      assert.ok(await page.evaluate(() => document.getElementById('transcript').clientHeight >= 100), `at ${width} px`);
    }
  });

  test('a conversation fills the screen and no more, and lists that were out of sight are at their end', async () => {
    const page = await stage.visit({ ...PHONE, microphone: true, hash: '#view=talk' });
    const bottom = (selector) => page.evaluate((selector) => document.querySelector(selector).getBoundingClientRect().bottom, selector);
    const fits = async () => assert.deepEqual([await page.evaluate(() => document.documentElement.scrollHeight), Math.round((await bottom('.talk')) - (await bottom('#send')))], [740, 13]);
    await fits();
    await connect(page);
    await page.waitForSelector('#microphones', { state: 'visible' });
    await says(page, '#line', /RTT/);
    await fits();
    await page.fill('#words', 'What is the key for?');
    await page.press('#words', 'Enter');
    await says(page, '#transcript', /A key opens/);
    await page.tap('#tab-events');
    await page.tap('#filters button:nth-child(4)');
    await page.tap('#tab-secret');
    await page.setViewportSize({ width: 360, height: 480 });
    // All is said, so that nothing is added any more.
    await page.waitForFunction(() => /not need the key any more\./.test(document.getElementById('transcript').textContent));
    for (const [view, list] of [['events', 'log'], ['talk', 'transcript']]) {
      await page.tap(`#tab-${view}`);
      const left = await page.evaluate(async (id) => {
        await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
        const { scrollHeight, scrollTop, clientHeight } = document.getElementById(id);
        return [scrollHeight > clientHeight, Math.round(scrollHeight - scrollTop - clientHeight)];
      }, list);
      assert.deepEqual(left, [true, 0], list);
    }
  });

  test('on its side a conversation fits the screen, controls beside the transcript', async () => {
    const page = await stage.visit({ ...ON_ITS_SIDE, microphone: true, hash: '#view=talk' });
    const fits = async () => assert.deepEqual(await page.evaluate(() => {
      const box = (selector) => document.querySelector(selector).getBoundingClientRect();
      const [transcript, send, tabs] = ['#transcript', '#send', '.tabs'].map(box);
      return [document.documentElement.scrollHeight, send.bottom < tabs.top, send.right < transcript.left, transcript.height > 180, transcript.bottom < tabs.top];
    }), [375, true, true, true, true]);
    await fits();
    await connect(page);
    await page.waitForSelector('#microphones', { state: 'visible' });
    await page.fill('#words', 'What is the key for?');
    await page.press('#words', 'Enter');
    await says(page, '#transcript', /not need the key any more\./);
    await fits();
  });

  test('what is at the end of a part can be scrolled above the tabs', async () => {
    for (const look of [PHONE, ON_ITS_SIDE]) {
      const page = await stage.visit(look);
      for (const view of ['secret', 'break', 'events', 'code']) {
        await page.tap(`#tab-${view}`);
        const [last, tabs] = await page.evaluate(() => {
          scrollTo(0, 1e6);
          const cards = [...document.querySelectorAll('.card')].filter((card) => card.checkVisibility());
          return [cards.at(-1).getBoundingClientRect().bottom, document.querySelector('.tabs').getBoundingClientRect().top];
        });
        assert.ok(last < tabs, `${view}: ${last} under ${tabs}`);
      }
    }
  });

  test('connecting moves neither the levels nor the transcript', async () => {
    const page = await stage.visit({ ...PHONE, microphone: true, hash: '#view=talk' });
    const places = () => page.evaluate(() => ['level-me', 'level-model', 'transcript', 'words'].map((id) => {
      const { top, height } = document.getElementById(id).getBoundingClientRect();
      return [id, top, height];
    }));
    const before = await places();
    await connect(page);
    await page.waitForSelector('#microphones', { state: 'visible' });
    await says(page, '#line', /RTT/);
    assert.deepEqual(await places(), before);
  });

  test('all rows of the log are as high as a finger needs', async () => {
    const page = await stage.visit({ ...PHONE, hash: '#view=events' });
    await page.tap('#tab-break');
    await page.tap('#chaos [name="500"]');
    await says(page, '#outcome', /new key/);
    await page.tap('#tab-events');
    const rows = await page.locator('#log :is(p, summary)').evaluateAll((all) => all.map((row) => [row.localName, row.clientHeight >= 44]));
    assert.ok(rows.some(([name]) => name === 'p'));
    assert.deepEqual(rows.filter(([, isHigh]) => !isHigh), []);
  });

  test('the choice of a person says what it is', async () => {
    const page = await stage.visit(PHONE);
    const { width } = await page.locator('#people legend').boundingBox();
    assert.ok(width > 10 && width < 60, `${width} px for one word`);
    assert.equal(await page.getByRole('group', { name: 'User' }).count(), 1);
  });

  test('tabs tell how things are where they lead', async () => {
    const page = await stage.visit({ ...PHONE, microphone: true });
    await says(page, '#tab-secret', /^1 Key\s+\d:\d\d$/);
    await says(page, '#tab-talk', /^2 Talk\s+Not connected$/);
    await says(page, '#tab-events', /^Events\s+\d+ events$/);
    await page.tap('#tab-talk');
    await connect(page);
    await says(page, '#tab-talk', /^2 Talk\s+Connected$/);
    assert.equal(await page.getAttribute('#tab-talk small', 'aria-hidden'), 'true');
  });
});
