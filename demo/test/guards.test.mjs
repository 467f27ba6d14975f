// Tests limits and users. Each test starts its own broker, because it uses up limits.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connect, ownBroker, raise, read, says } from './stage.mjs';

/** Runs `play` on a stage of its own. */
async function on(options, play) {
  const stage = await raise(options);
  try {
    await play(stage);
  } finally {
    await stage.strike();
  }
}

const secret = (page) => read(page, '#facts div:first-child dd');

describe('guards and people', ownBroker, () => {
  test('the window can be spent, knocking on earns a block, and the block ends', () => on({ settings: ['limits.token=5/60s', 'guard.threshold=2', 'guard.block=4s'] }, async (stage) => {
    const page = await stage.visit();
    await page.click('#spend');
    await says(page, '#limits', /0 of 5 left · \d+ s/);
    await says(page, '#outcome', /until the broker refuses one[^]*200 \/token ×4[^]*429 \/token rate_limited/);
    await page.click('#knock');
    await says(page, '#limits', /Block\s+blocked · [1-4] s/);
    const other = await page.context().newPage();
    await other.goto(page.url());
    await says(other, '#limits', /Sessions\s+no data yet[^]*Block\s+blocked/);
    assert.deepEqual(await other.locator('#limits .fill').evaluateAll((all) => all.map((fill) => fill.clientWidth)), [0, 0]);
    await other.close();
    await page.click('#secret-refresh');
    await says(page, '#trouble', /try again in [1-4] s\. \(blocked\)/);
    await says(page, '#limits', /Block\s+none/);
    await says(page, '#log', /200 \/refresh-token/);
    await says(page, '#phase', /Valid/);
  }));

  test('the student can use up eight sessions of a month, and the teacher is not held up by that', () => on({}, async (stage) => {
    const page = await stage.visit();
    await says(page, '#limits', /Quota\s+sign in to see it/);
    const statuses = [];
    page.on('response', (answer) => answer.url().endsWith('/token') && statuses.push(answer.status()));
    await page.click('text="Sam"');
    await says(page, '#limits', /Quota\s+Sam's: not exceeded/);
    await says(page, '#phase', /Valid/);
    await page.click('#spend');
    await says(page, '#limits', /Quota\s+used up · \d+ (d|h|min)/);
    await says(page, '#log', /429 \/token quota_exceeded sessions_per_month/);
    assert.equal(await page.getAttribute('#limits div:last-child dd', 'data-tone'), 'bad');
    assert.deepEqual(statuses, [...Array(8).fill(200), 429]);
    await page.click('#secret-drop');
    await page.click('text="Toni"');
    await says(page, '#limits', /Quota\s+Toni's: not exceeded/);
    await says(page, '#phase', /Valid/);
    await page.click('text="Sam"');
    await says(page, '#trouble', /try again in \d+ (d|h|min)\. \(quota_exceeded\)/);
    await says(page, '#limits', /Quota\s+used up/);
  }));

  test('a fault that leads to a refresh waits until the broker allows one, so that no 429 of the broker is taken for a fault', () => on({ settings: ['session.min_refresh_interval=4s'] }, async (stage) => {
    const page = await stage.visit();
    for (const name of ['500', 'sleep']) {
      await page.click(`#chaos [name="${name}"]`);
      await says(page, '#outcome', /starts in \d s: the broker allows a refresh every 4 s/);
      await says(page, '#outcome', /new key/);
    }
    assert.doesNotMatch(await page.textContent('#log'), /refresh_too_soon/);
  }));

  test('a call ends when the user changes', () => on({}, async (stage) => {
    const page = await stage.visit({ microphone: true });
    await connect(page);
    await page.click('text="Sam"');
    await says(page, '#call-status', /^Not connected/);
    await says(page, '#transcript', /Signed in as Sam: the call of the user before has ended\./);
  }));

  test('who signs in sends the credential of dev, and gets a session of their own', () => on({}, async (stage) => {
    const page = await stage.visit();
    const about = await page.evaluate(() => fetch('/demo/about').then((answer) => answer.json()));
    const [sam, toni] = about.people;
    assert.deepEqual(about.people.map(({ name, role }) => [name, role]), [['Sam', 'student'], ['Toni', 'teacher']]);
    const said = [];
    page.on('response', async (answer) => {
      const request = answer.request();
      if (request.method() !== 'POST') return;
      const path = new URL(request.url()).pathname;
      const slot = said.push([path, request.headers().authorization, answer.status()]) - 1;
      said[slot].push((await answer.json()).sessionId);
    });
    const shown = [await secret(page)];
    const change = async (click, log) => {
      await page.click(click);
      await says(page, '#log', log);
      await page.waitForFunction((before) => /ek_/.test(document.querySelector('#facts dd').textContent) && document.querySelector('#facts dd').textContent !== before, shown.at(-1));
      shown.push(await secret(page));
    };
    await change('text="Sam"', /signed in as Sam, student/);
    await change('text="Toni"', /signed in as Toni, teacher/);
    await change('#secret-refresh', /200 \/refresh-token/);
    await change('text="Nobody"', /signed out/);
    const asked = said.map(([path, bearer, status]) => [path, bearer, status]);
    const [hers, his] = [`Bearer ${toni.bearer}`, `Bearer ${sam.bearer}`];
    assert.deepEqual(asked, [['/token', his, 200], ['/token', hers, 200], ['/refresh-token', hers, 200], ['/token', undefined, 200]]);
    const sessions = said.map(([, , , session]) => session);
    assert.ok(sessions.every(Boolean), `${sessions}`);
    assert.equal(sessions[1], sessions[2]);
    assert.equal(new Set(sessions).size, 3);
    assert.equal(new Set(shown).size, shown.length);
  }));

  test('served by an operator below a base path, nothing is minted until somebody asks, and no guards are shown', () =>
    on({ isLive: true, settings: ['server.base_path=/api/voice-agent'] }, async (stage) => {
      const page = await stage.visit({ isIdle: true });
      await says(page, '#health', /Broker healthy · live OpenAI/);
      assert.match(await read(page, '#log-count'), /no events yet/);
      assert.equal(await page.isVisible('#guards'), false);
      assert.equal(await page.isVisible('#people'), false);
      const left = (selector) => page.evaluate((selector) => document.querySelector(selector).getBoundingClientRect().left, selector);
      assert.equal(await left('.chaos'), await left('.secret'), 'another card has their place');
      await page.click('#secret-refresh');
      await says(page, '#phase', /Valid/);
      assert.deepEqual(page.complaints, []);
    }));

  test('f24 with a real upstream the offer goes to its own host, and its refusal is shown', () =>
    on({ isLive: true, settings: ['upstream.public_url=https://eu.api.openai.com/v1'] }, async (stage) => {
    const page = await stage.visit({ isIdle: true });
    const offers = [];
    await page.route('https://eu.api.openai.com/**', async (route) => {
      offers.push([route.request().url(), (await route.request().headerValue('authorization')).slice(0, 10)]);
      await route.fulfill({ status: 400, json: { error: { message: 'No such model.' } }, headers: { 'access-control-allow-origin': '*' } });
    });
    await page.click('#connect');
    await says(page, '#transcript', /refused with 400: No such model\./);
    assert.deepEqual(offers, [['https://eu.api.openai.com/v1/realtime/calls', 'Bearer ek_']]);
  }));
});
