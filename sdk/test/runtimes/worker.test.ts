// Tests the client in workerd, the runtime of Cloudflare's workers, against the real broker.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startBroker } from '../broker.js';
import { bundle } from './bundle.js';

const WORKERD = fileURLToPath(new URL('../../../node_modules/.bin/workerd', import.meta.url));

const worker = (broker: string): string => `
import { createTokenManager, TokenError } from './index.js';
const check = (holds, what) => { if (!holds) throw new Error(what); };
export default {
  async test() {
    const tokens = createTokenManager({ baseUrl: '${broker}' });
    const token = await tokens.requestToken();
    check(token.value.startsWith('ek_'), 'no key');
    check(await tokens.getApiKey() === token.value, 'another key');
    const signal = AbortSignal.abort();
    const refused = await tokens.refreshToken({ signal }).catch((error) => error);
    check(TokenError.is(refused) && refused.code === 'aborted', 'not aborted');
    tokens.destroy();
    const nowhere = (() => { try { createTokenManager(); } catch (error) { return error; } })();
    check(nowhere instanceof TypeError, 'baseUrl was not required');
  },
};`;

test('F28 a worker gets a key of the broker', async () => {
  const broker = await startBroker();
  const room = mkdtempSync(join(tmpdir(), 'workerd-'));
  try {
    writeFileSync(join(room, 'worker.js'), await bundle('esm', worker(broker.url)));
    writeFileSync(
      join(room, 'worker.capnp'),
      `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (services = [
  (name = "main", worker = (modules = [(name = "worker", esModule = embed "worker.js")], compatibilityDate = "2026-01-01")),
  (name = "internet", network = (allow = ["public", "private", "local"])),
]);`,
    );
    const { status, stdout, stderr } = spawnSync(WORKERD, ['test', join(room, 'worker.capnp')], { encoding: 'utf8', timeout: 60_000 });
    assert.equal(status, 0, `${stdout}${stderr}`);
  } finally {
    rmSync(room, { recursive: true });
    await broker.stop();
  }
});
