// Checks the package as it would be published: packs it, runs publint and attw, and imports it in an empty project.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const sdk = fileURLToPath(new URL('..', import.meta.url));
const bin = (name) => join(sdk, 'node_modules/.bin', name);
const run = (command, args, cwd = sdk) => execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

const { dependencies } = JSON.parse(readFileSync(join(sdk, 'package.json'), 'utf8'));
if (dependencies) throw new Error('The client has no runtime dependencies, and that is a promise.');

const room = mkdtempSync(join(tmpdir(), 'sdk-pack-'));
try {
  const [{ filename }] = JSON.parse(run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', room]));
  const tarball = join(room, filename);
  process.stdout.write(run(bin('publint'), [tarball, '--strict']));
  // ESM only on purpose: a CommonJS build would be a second manager in the same page.
  process.stdout.write(run(bin('attw'), [tarball, '--profile', 'esm-only']));
  writeFileSync(join(room, 'package.json'), '{ "private": true, "type": "module" }');
  run('npm', ['install', '--silent', '--no-audit', '--no-fund', '--omit=peer', '--offline', tarball], room);
  // The types have to compile with the oldest libraries that they promise, without skipLibCheck.
  writeFileSync(join(room, 'page.ts'), ['', '/webrtc', '/call', '/transcribe', '/testing'].map((entry) => `export * from '@realtime-token-broker/client${entry}';\n`).join(''));
  const flags = '--noEmit --strict --skipLibCheck false --target es2022 --lib es2022,dom --module nodenext --types'.split(' ');
  process.stdout.write(run(bin('tsc'), [...flags, '', 'page.ts'], room));
  const names = ['', '/webrtc', '/call', '/transcribe', '/testing'].map((entry) => `@realtime-token-broker/client${entry}`);
  const script = `for (const name of ${JSON.stringify(names)}) console.log(name, Object.keys(await import(name)).length, 'exports');`;
  process.stdout.write(run(process.execPath, ['--input-type=module', '-e', script], room));
} finally {
  rmSync(room, { recursive: true, force: true });
}
