// Owns the test of docs/client.md and README.md: each snippet compiles as it is pasted, with no name that it does not have.
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

test('docsUrl of an error leads to a section of a document that is there, and it has a row for each code', () => {
  const { docsUrl } = new TokenError('network');
  const [path, anchor] = docsUrl.split('#');
  const sections = readFileSync(`${SDK}../${path}`, 'utf8').split(/^## /m);
  const section = sections.find((each) => each.split('\n')[0]?.toLowerCase().replaceAll(' ', '-') === anchor);
  assert.ok(section, `${docsUrl} leads nowhere`);
  for (const [source, type] of [['errors', 'TokenErrorCode'], ['connection', 'ConnectionErrorCode']] as const) {
    const [, codes = ''] = new RegExp(`export type ${type} =([^;]*);`).exec(readFileSync(`${SDK}src/${source}.ts`, 'utf8')) ?? [];
    const names = [...codes.matchAll(/'(\w+)'/g)].map(([, name]) => name);
    assert.ok(names.length > 5);
    for (const name of names) assert.ok(section.includes(`\n| \`${name}\` |`), `no row for ${name}`);
  }
});
