// One more attempt with a new key when a key was refused between mint and use.
import { TokenError } from './errors.js';
import type { RealtimeToken } from './token.js';
import type { TokenManager } from './token-manager.js';

/** Returns whether `error` of any SDK says that the key was refused, or used before (409). Some SDKs say so in the message only. */
export function isKeyRefused(error: unknown): boolean {
  const { status, code, message, brokerCode } = Object(error) as Record<string, unknown>;
  // Whose call was ended while it was dialled is not to call again.
  if (brokerCode === 'call_ended') return false;
  return code === 'expired' || /\b40[139]\b/.test(`${status ?? message}`) || (!status && /expired/i.test(`${message}`));
}

/** Calls `use` with a key, and once more with a new key when the first was refused. */
export async function withFreshKey<T>(tokens: TokenManager, use: (apiKey: string, token: RealtimeToken) => Promise<T>): Promise<T> {
  const first = await tokens.takeToken();
  try {
    return await use(first.value, first);
  } catch (error) {
    if (!isKeyRefused(error)) throw error;
  }
  tokens.invalidate('the key was refused');
  const second = await tokens.takeToken();
  try {
    return await use(second.value, second);
  } catch (cause) {
    throw isKeyRefused(cause) ? new TokenError('expired', 'Two keys in a row were refused.', { cause }) : cause;
  }
}
