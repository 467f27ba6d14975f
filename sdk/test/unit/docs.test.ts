// Tests docs/client.md and README.md: each snippet compiles as it is pasted, and every error code is explained.
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

test('docsUrl of an error is the URL of the package, whose README has a section on errors', () => {
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
