// Owns the one retry that a key deserves which died between mint and use.
import { TokenError } from './errors.js';
import type { TokenManager } from './token-manager.js';

/** Whether `error`, from whatever used the key, reads as if the key was refused. Some SDKs tell only in the message. */
export function isKeyRefused(error: unknown): boolean {
  const { status, code, message } = Object(error) as Record<string, unknown>;
  return code === 'expired' || /\b40[13]\b/.test(`${status ?? message}`) || (!status && /expired/i.test(`${message}`));
}

/** Calls `use` with a key and, if that fails because the key was refused, once more with a new one. */
export async function withFreshKey<T>(tokens: TokenManager, use: (apiKey: string) => Promise<T>): Promise<T> {
  const first = await tokens.getApiKey();
  try {
    return await use(first);
  } catch (error) {
    if (!isKeyRefused(error)) throw error;
  }
  tokens.invalidate('the key was refused');
  const second = await tokens.getApiKey();
  try {
    return await use(second);
  } catch (cause) {
    throw isKeyRefused(cause) ? new TokenError('expired', 'Two keys in a row were refused.', { cause }) : cause;
  }
}
