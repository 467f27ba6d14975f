// Formats times and names the client's reasons.
import type { ExpiryCause, RefreshReason } from './sdk.js';

/** Why there is a new key. */
export const REASONS: Record<RefreshReason, string> = {
  initial: 'first key',
  scheduled: 'on schedule',
  forced: 'on request',
  demand: 'needed now',
  resume: 'woke up',
  online: 'back online',
  invalidated: 'replaced',
};

/** Why a key expired without a successor. */
export const CAUSES: Record<ExpiryCause, string> = {
  'refresh-failed': 'no refresh succeeded',
  paused: 'no refresh while paused',
  idle: 'nobody asked for a key in a long time',
  disabled: 'refreshes are off',
};

/** Formats how long something took: `4.2 ms`, `84 ms`, `1.3 s`, `59 s`, `10 min`. */
export function span(ms: number): string {
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 99_500) return `${Math.round(ms / 1000)} s`;
  return `${Math.round(ms / 60_000)} min`;
}

/** Formats a remaining wait in one unit, rounded up: `27 s`, `15 min`, `9 d`. */
export function wait(ms: number): string {
  const seconds = Math.max(Math.ceil(ms / 1000), 0);
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 6000) return `${Math.ceil(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.ceil(seconds / 3600)} h` : `${Math.ceil(seconds / 86_400)} d`;
}

/** Formats the time left as `0:43`, rounded up, so that zero is shown only at the end. */
export function countdown(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  return `${Math.floor(seconds / 60)}:${`${seconds % 60}`.padStart(2, '0')}`;
}

/** Returns the last characters of a masked key: enough to tell two apart. */
export function tail(masked: string): string {
  return `…${masked.slice(-4)}`;
}
