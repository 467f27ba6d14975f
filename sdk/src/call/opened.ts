// Follows the call that an answer to an offer has opened. Loaded in call mode only.
import type { Clock } from '../clock.js';
import { type FollowedCall, followCall } from './follow.js';

/** Returns the seconds until the broker ends the call, by its own clock. */
function secondsUntilEnd(headers: Headers): number | undefined {
  const left = Number(headers.get('x-call-ends-at')) - Date.parse(headers.get('date') ?? '');
  return left > 0 ? Math.ceil(left / 1000) : undefined;
}

/** `calls` is where the offer went, `id` the call's id, and `key` the ticket of the offer. */
export function followOpened(calls: string, id: string, key: string, headers: Headers, parts: { clock: Clock; fetch?: typeof fetch }): FollowedCall {
  const ticket = headers.get('x-call-token') ?? key;
  return followCall({ ...parts, url: `${calls.split('?')[0]}/${id}`, ticket, secondsLeft: secondsUntilEnd(headers) });
}
