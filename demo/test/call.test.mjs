// Tests a conversation: who speaks, through which microphone, with which figures.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect, raise, read, says } from './stage.mjs';

const peak = (page, id) => page.waitForFunction((id) => Number(document.getElementById(id).dataset.peak) > 0.05, id);

/** Runs in the page: keeps what is opened, so that a test sees the tracks that are really sent. */
function watchPeers() {
  const peers = [];
  window.tracks = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...options) {
      super(...options);
      peers.push(this);
    }
  };
  const ask = MediaDevices.prototype.getUserMedia;
  MediaDevices.prototype.getUserMedia = async function (...wanted) {
    const stream = await ask.apply(this, wanted);
    window.tracks.push(...stream.getTracks());
    return stream;
  };
  window.sent = () =>
    peers.filter(({ signalingState }) => signalingState !== 'closed')
      .flatMap((peer) => peer.getSenders().map(({ track }) => track))
      .filter((track) => track?.readyState === 'live' && window.tracks.includes(track));
}

/** What the call sends, beside what the button says of it. */
const spoken = (page) => page.evaluate(() => {
  const [track, ...more] = window.sent();
  if (more.length) throw new Error('more than one microphone is sent');
  const mute = document.getElementById('mute');
  return { sent: track?.label, enabled: track?.enabled, pressed: mute.getAttribute('aria-pressed'), label: mute.textContent };
});

describe('a conversation', () => {
  let stage;
  before(async () => {
    stage = await raise();
  });
  after(() => stage?.strike());

  test('without a microphone a synthetic voice connects, is heard, and is named as synthetic', async () => {
    const page = await stage.visit();
    await connect(page);
    await says(page, '#transcript', /The microphone was refused: a synthetic voice speaks for you\./);
    await peak(page, 'level-model');
    await says(page, '#transcript', /You\s+\([\d.]+ s of speech\)/);
    await says(page, '#falls', /first sound\s+\d/);
    await page.click('#connect');
    await says(page, '#call-status', /^Not connected/);
    assert.deepEqual(page.complaints, []);
  });

  test('with a microphone its level moves, and the connection tells its figures', async () => {
    const page = await stage.visit({ microphone: true });
    assert.equal(await read(page, '#microphone'), 'Microphone');
    await page.click('#connect');
    await says(page, '#call-status', /^Connected/);
    await peak(page, 'level-me');
    await says(page, '#line', /^RTT (< 1|\d+) ms · jitter (< 1|\d+) ms$/);
    assert.deepEqual(page.complaints, []);
  });

  test('who is muted stays muted when the call is made anew, and the button says what the track does', async () => {
    const page = await stage.visit({ microphone: true, before: watchPeers });
    await connect(page);
    assert.deepEqual(await spoken(page), { sent: 'Fake Default Audio Input', enabled: true, pressed: 'false', label: 'Mute' });
    await page.click('#mute');
    const muted = { sent: 'Fake Default Audio Input', enabled: false, pressed: 'true', label: 'Muted' };
    assert.deepEqual(await spoken(page), muted);
    await page.click('#hang-up');
    await says(page, '#transcript', /The new call knows nothing/);
    await says(page, '#call-status', /^Connected/);
    assert.deepEqual(await spoken(page), muted);
    await page.click('#mute');
    assert.deepEqual(await spoken(page), { ...muted, enabled: true, pressed: 'false', label: 'Mute' });
    await page.click('#mute');
    await page.click('#connect');
    await says(page, '#call-status', /^Not connected/);
    await connect(page);
    assert.deepEqual(await spoken(page), { ...muted, enabled: true, pressed: 'false', label: 'Mute' });
  });

  test('E63: who refuses the microphone and then allows it speaks through it in the next call', async () => {
    const page = await stage.visit({ before: watchPeers });
    await connect(page);
    assert.deepEqual([await read(page, '#mute'), await read(page, '#microphone')], ['Speak', 'Synthetic voice']);
    await page.click('#connect');
    await says(page, '#call-status', /^Not connected/);
    await page.allowMicrophone();
    await connect(page);
    assert.deepEqual(await spoken(page), { sent: 'Fake Default Audio Input', enabled: true, pressed: 'false', label: 'Mute' });
    await peak(page, 'level-me');
    assert.doesNotMatch(await read(page, '#transcript'), /synthetic voice speaks/);
  });

  test('E62: a connect that is cancelled leaves nothing open, here or at the stand-in', async () => {
    const page = await stage.visit({
      microphone: true,
      before: () => {
        window.opened = [];
        for (const name of ['RTCPeerConnection', 'AudioContext']) {
          window[name] = class extends window[name] {
            constructor(...options) {
              super(...options);
              window.opened.push(this);
              // The second peer is the stand-in's: it is about to answer.
              if (name === 'RTCPeerConnection' && window.opened.filter((one) => one instanceof RTCPeerConnection).length === 2)
                setTimeout(() => document.getElementById('connect').click());
            }
          };
        }
      },
    });
    await page.click('#connect');
    await page.waitForFunction(() => window.opened.filter((one) => one instanceof RTCPeerConnection).length === 2);
    await says(page, '#call-status', /^Not connected/);
    const open = () => window.opened.filter((one) => (one.signalingState ?? one.state) !== 'closed').map(({ constructor }) => constructor.name);
    await page.waitForTimeout(1500);
    assert.deepEqual(await page.evaluate(open), []);
    await connect(page);
    await page.click('#connect');
    await says(page, '#call-status', /^Not connected/);
    await page.waitForTimeout(500);
    assert.deepEqual(await page.evaluate(open), []);
    assert.deepEqual(page.complaints, []);
  });

  test('one of several microphones can be picked, before and during a call, and stays picked as long as the page', async () => {
    const page = await stage.visit({ microphone: true, before: watchPeers });
    assert.equal(await page.isVisible('#microphones'), false);
    await connect(page);
    await page.waitForSelector('#microphones', { state: 'visible' });
    assert.deepEqual(await page.locator('#microphones option').allInnerTexts(), ['Fake Default Audio Input', 'Fake Audio Input 1', 'Fake Audio Input 2']);
    const chosen = () => page.evaluate(() => document.querySelector('#microphones').selectedOptions[0]?.label);
    assert.equal(await chosen(), 'Fake Default Audio Input');
    await page.click('#mute');
    await page.selectOption('#microphones', { label: 'Fake Audio Input 2' });
    await says(page, '#log', /speaks through Fake Audio Input 2/);
    const second = { sent: 'Fake Audio Input 2', enabled: false, pressed: 'true', label: 'Muted' };
    assert.deepEqual(await spoken(page), second);
    await page.click('#hang-up');
    await says(page, '#transcript', /The new call knows nothing/);
    await says(page, '#call-status', /^Connected/);
    await page.waitForFunction(() => window.sent()[0]?.label === 'Fake Audio Input 2');
    assert.deepEqual(await spoken(page), second);
    await page.click('#mute');
    await peak(page, 'level-me');
    await page.click('#connect');
    await says(page, '#call-status', /^Not connected/);
    assert.ok(await page.evaluate(() => window.tracks.every(({ readyState }) => readyState === 'ended')), 'no microphone stays open');
    await connect(page);
    assert.deepEqual(await spoken(page), { ...second, enabled: true, pressed: 'false', label: 'Mute' });
    assert.equal(await chosen(), 'Fake Audio Input 2');
    assert.deepEqual(await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]), [0, 0, '']);
    await page.click('#connect');
    await page.evaluate(() => {
      const ask = MediaDevices.prototype.getUserMedia;
      MediaDevices.prototype.getUserMedia = async function (wanted) {
        if (wanted.audio.deviceId) throw new OverconstrainedError('deviceId', 'unplugged');
        return ask.call(this, wanted);
      };
    });
    await connect(page);
    assert.equal((await spoken(page)).sent, 'Fake Default Audio Input');
    await page.reload();
    await connect(page);
    assert.equal(await chosen(), 'Fake Default Audio Input');
  });

  test('with one microphone there is nothing to pick', async () => {
    const page = await stage.visit({
      microphone: true,
      before: () => {
        const all = MediaDevices.prototype.enumerateDevices;
        MediaDevices.prototype.enumerateDevices = async function () {
          window.asked = true;
          return (await all.call(this)).filter(({ label }) => !/ 2$/.test(label));
        };
      },
    });
    await connect(page);
    await page.waitForFunction(() => window.asked);
    assert.equal(await page.isVisible('#microphones'), false);
    assert.equal(await read(page, '#microphone'), 'Microphone');
  });

  test('the figures of the connection are asked for once a second while it is up, and nothing is said when there are none', async () => {
    const page = await stage.visit({
      before: () => {
        window.asked = 0;
        window.roundTrips = [0.031, 0.045];
        RTCPeerConnection.prototype.getStats = async () => {
          window.asked++;
          const currentRoundTripTime = window.roundTrips.shift();
          if (currentRoundTripTime === undefined) return new Map();
          return new Map([
            ['t', { id: 't', type: 'transport', selectedCandidatePairId: 'b' }],
            ['a', { id: 'a', type: 'candidate-pair', nominated: true, state: 'succeeded', currentRoundTripTime: 9 }],
            ['b', { id: 'b', type: 'candidate-pair', nominated: true, state: 'succeeded', currentRoundTripTime }],
            ['v', { id: 'v', type: 'inbound-rtp', kind: 'video', jitter: 7 }],
            ['s', { id: 's', type: 'inbound-rtp', kind: 'audio', jitter: 0.0042 }],
          ]);
        };
      },
    });
    assert.equal(await page.isVisible('#line'), false);
    await page.click('#connect');
    await says(page, '#line-now', /^RTT 31 ms · jitter 4 ms$/);
    assert.equal(await page.isVisible('#line-past'), false);
    await says(page, '#line-now', /^RTT 45 ms · jitter 4 ms$/);
    assert.equal(await page.getAttribute('#line-past', 'aria-label'), 'Round trip in the last 2 s: 31 ms to 45 ms');
    assert.equal(await page.isVisible('#line-past'), true);
    await page.waitForSelector('#line', { state: 'hidden' });
    const before = await page.evaluate(() => window.asked);
    await page.waitForTimeout(2100);
    const during = (await page.evaluate(() => window.asked)) - before;
    assert.ok(during >= 1 && during <= 3, `${during} in two seconds`);
    await page.click('#connect');
    await says(page, '#call-status', /^Not connected/);
    const after = await page.evaluate(() => window.asked);
    await page.waitForTimeout(1100);
    assert.equal(await page.evaluate(() => window.asked), after);
  });

  test('what is typed is answered, and what interrupts is shown as an interruption', async () => {
    const page = await stage.visit();
    await connect(page);
    await page.fill('#words', 'What does it cost?');
    await page.press('#words', 'Enter');
    await says(page, '#transcript', /Model, interrupted/);
    await says(page, '#transcript', /I cost nothing\./);
  });
});
