// Tests docs/client.md and the READMEs: each snippet compiles as it is pasted, and every error code is explained.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { TokenError } from '@realtime-token-broker/client';

const SDK = fileURLToPath(new URL('../../../', import.meta.url));

test('snippets of the documents compile as they are pasted', () => {
  // Below the package, so that its own name and its dependencies resolve.
  const room = `${SDK}test-dist/snippets/`;
  rmSync(room, { recursive: true, force: true });
  mkdirSync(room, { recursive: true });
  const files: string[] = [];
  for (const [name, path] of [['client', '../docs/client.md'], ['readme', 'README.md']] as const) {
    for (const [, kind, code] of readFileSync(SDK + path, 'utf8').matchAll(/```(tsx?)\n(.*?)```/gs)) {
      const file = `${room}${name}-${files.length + 1}.${kind}`;
      writeFileSync(file, `${code}`);
      files.push(file);
    }
  }
  assert.ok(files.length >= 7);
  const flags = '--noEmit --strict --noUnusedLocals --skipLibCheck --target es2022 --module esnext --moduleResolution bundler --moduleDetection force --jsx react-jsx';
  const { status, stdout } = spawnSync(`${SDK}node_modules/.bin/tsc`, [...flags.split(' '), '--ignoreConfig', ...files], { cwd: SDK, encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});

/** The section of a document with this anchor. */
function section(path: string, anchor: string): string {
  const sections = readFileSync(SDK + path, 'utf8').split(/^## /m);
  const found = sections.find((each) => each.split('\n')[0]?.toLowerCase().replaceAll(' ', '-') === anchor);
  assert.ok(found, `${path} has no section ${anchor}`);
  return found;
}

/** Presses Talk in the page of the README, where the broker and OpenAI give these answers. Returns what became of it. */
async function talked(...answers: Response[]): Promise<{ asked: unknown[][]; said: string[]; heard: unknown }> {
  const [, code = ''] = /```js\n(.*?)```/s.exec(readFileSync(`${SDK}../README.md`, 'utf8')) ?? [];
  const button: { onclick?: () => Promise<void> } = {};
  const [asked, said, audio]: [unknown[][], string[], { srcObject?: unknown }] = [[], [], {}];
  const page = {
    alert: (text: string) => said.push(text),
    Audio: function () { return audio; },
    document: { querySelector: () => button },
    fetch: (...call: unknown[]) => (asked.push(call), Promise.resolve(answers.shift())),
    navigator: { mediaDevices: { getUserMedia: () => Promise.resolve({ getTracks: () => ['track'] }) } },
    RTCPeerConnection: class {
      localDescription = { sdp: 'offer' };
      declare ontrack: (event: object) => void;
      addTrack() {}
      createOffer() {}
      setLocalDescription() {}
      setRemoteDescription() { this.ontrack({ streams: ['voice'] }); }
    },
  };
  new Function(...Object.keys(page), code)(...Object.values(page));
  await button.onclick?.();
  return { asked, said, heard: audio.srcObject };
}

test('N08 the page of the README plays what it hears, and says why it failed', async () => {
  const key = { value: 'ek_1', connect: { calls: 'https://openai.test/calls' } };
  const { asked, said, heard } = await talked(Response.json(key), new Response('answer'));
  assert.deepEqual([said, heard], [[], 'voice']);
  assert.deepEqual(asked[1], ['https://openai.test/calls', {
    method: 'POST', body: 'offer', headers: { Authorization: 'Bearer ek_1', 'Content-Type': 'application/sdp' } }]);

  const refused = await talked(Response.json({ error: { message: 'Too many requests.' } }, { status: 429 }));
  assert.deepEqual([refused.asked.length, refused.said], [1, ['Too many requests.']]);
  const late = await talked(Response.json(key), new Response('expired', { status: 401 }));
  assert.deepEqual(late.said, ['OpenAI refused the call: 401 expired']);
});

test('N14 docsUrl of an error is the URL of the package, whose README has a section on errors', () => {
  const { host, pathname, hash } = new URL(new TokenError('network').docsUrl);
  const { name } = JSON.parse(readFileSync(`${SDK}package.json`, 'utf8')) as { name: string };
  assert.deepEqual([host, pathname], ['npmjs.com', `/package/${name}`]);
  section('README.md', hash.slice(1));
});

test('the document has a row for each error code', () => {
  const errors = section('../docs/client.md', 'errors');
  for (const [source, type] of [['errors', 'TokenErrorCode'], ['connection', 'ConnectionErrorCode']] as const) {
    const [, codes = ''] = new RegExp(`export type ${type} =([^;]*);`).exec(readFileSync(`${SDK}src/${source}.ts`, 'utf8')) ?? [];
    const names = [...codes.matchAll(/'(\w+)'/g)].map(([, name]) => name);
    assert.ok(names.length > 5);
    for (const name of names) assert.ok(errors.includes(`\n| \`${name}\` |`), `no row for ${name}`);
  }
});
