// The managers that a page shares by name.
import { defined, type TokenManagerOptions } from './options.js';
import { createTokenManager, type TokenManager } from './token-manager.js';

const shared = new Map<string, { manager: TokenManager; options: TokenManagerOptions; warned?: true }>();

/** Returns the page's manager `key` (`default`). The first call creates it, as does the first call after its `destroy()`. */
export function getTokenManager({ key = 'default', ...options }: TokenManagerOptions & { key?: string } = {}): TokenManager {
  let known = shared.get(key);
  if (!known || known.manager.getSnapshot().phase === 'destroyed') {
    known = { manager: createTokenManager(options), options };
    shared.set(key, known);
  }
  for (const [name, value] of Object.entries(defined(options))) {
    // A render creates functions and objects anew, so only plain values show that other options are meant.
    if (/object|function/.test(typeof value) || known.warned || known.options[name as keyof TokenManagerOptions] === value) continue;
    known.warned = true;
    (known.options.logger ?? console).warn?.('getTokenManager: other options than before; use updateOptions() or another key.');
  }
  return known.manager;
}

/** Destroys the page's manager `key`, if there is one. */
export function destroyTokenManager(key = 'default'): void {
  shared.get(key)?.manager.destroy();
  shared.delete(key);
}
