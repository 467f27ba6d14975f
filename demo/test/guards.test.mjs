// Owns the tests of the guards that the page shows, and of people: they spend what others would need, so they have a broker.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { raise, read, says } from './stage.mjs';

const mine = { skip: process.env.DEMO_URL ? 'these need a page of their own' : false };

test('the window can be spent, and knocking on earns a block', mine, async () => {
  const stage = await raise({ settings: ['limits.token=5/60s', 'guard.threshold=2'] });
  try {
    const page = await stage.visit();
    await page.click('#spend');
    await says(page, '#limits', /0 of 5 left · \d+ s/);
    await page.click('#knock');
    await says(page, '#limits', /Block\s+blocked · 15 min/);
    await page.click('#secret-refresh');
    await says(page, '#trouble', /blocked: wait 15 min/);
    assert.match(await read(page, '#phase'), /Valid/);
  } finally {
    await stage.strike();
  }
});

test('who signs in sends a credential of their own, and gets a session of their own', mine, async () => {
  const people = [{ name: 'Sam', role: 'student', bearer: 'of.sam.x' }, { name: 'Toni', role: 'teacher', bearer: 'of.toni.x' }];
  const stage = await raise({ about: { people } });
  try {
    const page = await stage.visit();
    const sent = [];
    page.on('request', (request) => request.method() === 'POST' && sent.push([new URL(request.url()).pathname, request.headers().authorization]));
    await page.click('text="Sam"');
    await says(page, '#log', /signed in as Sam, student/);
    await page.click('text="Toni"');
    await page.click('text="Nobody"');
    await says(page, '#log', /signed out/);
    await page.waitForTimeout(300);
    assert.deepEqual(sent, [['/token', 'Bearer of.sam.x'], ['/token', 'Bearer of.toni.x'], ['/token', undefined]]);
  } finally {
    await stage.strike();
  }
});

test('below a base path, and in serve mode, it works and shows no guards', mine, async () => {
  const stage = await raise({ base: '/api/voice-agent', about: { mode: 'serve' } });
  try {
    const page = await stage.visit();
    assert.equal(await page.isVisible('#guards'), false);
    assert.deepEqual(page.complaints, []);
  } finally {
    await stage.strike();
  }
});

test('with a real upstream nothing is minted until somebody asks, and the offer goes there', mine, async () => {
  const stage = await raise({ about: { simulated: false } });
  try {
    const page = await stage.browser.newPage();
    await page.goto(stage.url);
    await says(page, '#health', /live OpenAI/);
    assert.match(await read(page, '#log-count'), /nothing yet/);
    await page.click('#secret-refresh');
    await says(page, '#phase', /Valid/);
    const offers = [];
    await page.route('https://api.openai.com/**', async (route) => {
      offers.push([route.request().url(), (await route.request().headerValue('authorization')).slice(0, 10)]);
      await route.fulfill({ status: 400, json: { error: { message: 'No such model.' } }, headers: { 'access-control-allow-origin': '*' } });
    });
    await page.click('#connect');
    await says(page, '#transcript', /refused with 400: No such model\./);
    assert.deepEqual(offers, [['https://api.openai.com/v1/realtime/calls', 'Bearer ek_']]);
  } finally {
    await stage.strike();
  }
});
