// Owns the managers that a page shares by name.
import type { TokenManagerOptions } from './options.js';
import { TokenManager } from './token-manager.js';

const shared = new Map<string, { manager: TokenManager; options: TokenManagerOptions; warned?: true }>();

/** A manager of your own. */
export function createTokenManager(options: TokenManagerOptions = {}): TokenManager {
  return new TokenManager(options);
}

/** The page's manager called `key` (`default`), created by the first call and again after its `destroy()`. */
export function getTokenManager({ key = 'default', ...options }: TokenManagerOptions & { key?: string } = {}): TokenManager {
  const known = shared.get(key);
  if (!known || known.manager.getSnapshot().phase === 'destroyed') {
    const manager = new TokenManager(options);
    shared.set(key, { manager, options });
    return manager;
  }
  // Functions and objects are written anew by every render; only plain values tell that something else was meant.
  const other = Object.entries(options).some(
    ([name, value]) => !/object|function/.test(typeof value) && known.options[name as keyof TokenManagerOptions] !== value,
  );
  if (other && !known.warned) {
    known.warned = true;
    const { warn } = known.options.logger ?? console;
    warn?.('getTokenManager: it exists with other options, which stay. Use updateOptions() or another key.');
  }
  return known.manager;
}

/** Destroys the page's manager called `key`, if there is one. */
export function destroyTokenManager(key = 'default'): void {
  shared.get(key)?.manager.destroy();
  shared.delete(key);
}
