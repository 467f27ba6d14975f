// Tests the voices of the relay: 24 kHz PCM in base64, whatever the rate of the microphone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, encode, resampler } from '../../src/relay/voice.js';

test('what is encoded is decoded as it was, and half a sample at the end is left out', () => {
  const samples = Int16Array.from([0, 1, -1, 32_767, -32_768, 1234]);
  const text = encode(samples);
  assert.equal(text, 'AAABAP///38AgNIE');
  assert.deepEqual([...decode(text)], [...samples].map((sample) => Math.fround(sample / 32_768)));
  assert.equal(decode(btoa('abc')).length, 1);
  assert.equal(decode('').length, 0);
});

for (const rate of [16_000, 24_000, 44_100, 48_000, 96_000]) {
  test(`a second of a tone at ${rate} Hz is a second of the same tone at 24 kHz, in however many pieces it comes`, () => {
    const tone = (rate: number): Float32Array => Float32Array.from({ length: rate }, (_, n) => 0.5 * Math.sin((2 * Math.PI * 200 * n) / rate));
    const [heard, bring] = [tone(rate), resampler(rate)];
    const brought: number[] = [];
    for (let at = 0; at < heard.length; at += 4096) brought.push(...bring(heard.subarray(at, at + 4096)));
    assert.ok(Math.abs(brought.length - 24_000) <= 2, `${brought.length}`);
    const crossings = (samples: ArrayLike<number>): number => Array.from(samples).filter((sample, n, all) => n > 0 && sample >= 0 && Number(all[n - 1]) < 0).length;
    assert.ok(Math.abs(crossings(brought) - 200) <= 1, `${crossings(brought)}`);
    const peak = Math.max(...brought) / 32_767;
    assert.ok(peak > 0.48 && peak < 0.501, `${peak}`);
  });
}

test('what is too loud is cut off', () => {
  assert.deepEqual([...resampler(24_000)(Float32Array.from([2, -2]))], [32_767, -32_767]);
});
