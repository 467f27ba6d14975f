// Takes calls through the broker, and shows what is left of their time, their price and their end.
import { BASE } from './about.js';
import type { Desk } from './desk.js';
import { draw, need, write } from './dom.js';
import { type FollowedCall, followCall } from './sdk.js';
import { countdown } from './words.js';

/** Without a network interface a browser finds no way to any peer, and says nothing about it. */
export const OPEN_TIMEOUT_MS = 3000;
const RADIUS = 6;
const AROUND = 2 * Math.PI * RADIUS;

const WHY: Record<string, string> = {
  time_limit: 'its time was over',
  money_limit: 'its money was used up',
  turn_limit: 'the model has answered as often as it may',
  idle: 'nobody spoke for a while',
  not_joined: 'nothing was heard of the page',
  hung_up: 'this page hung up',
  logged_out: 'the user signed out',
  operator: 'an operator hung up',
  persona_violation: 'the page kept changing the persona',
  blind: 'the broker could not watch it any more',
  provider: 'the other side hung up',
  shutdown: 'the broker went away',
};

export interface LeashParts {
  /** Puts a remark into the transcript. */
  tell(words: string): void;
  /** The broker has answered an offer. */
  answered(): void;
}

/** The calls of this page that go through the broker. */
export class Leash {
  readonly #desk: Desk;
  readonly #parts: LeashParts;
  readonly #place = need('leash');
  readonly #ring = draw('circle', { class: 'left', cx: 8, cy: 8, r: RADIUS, 'stroke-dasharray': AROUND });
  #call: FollowedCall | null = null;
  #whole = 0;

  constructor(desk: Desk, parts: LeashParts) {
    this.#desk = desk;
    this.#parts = parts;
    need('leash-ring').append(draw('circle', { cx: 8, cy: 8, r: RADIUS }), this.#ring);
  }

  /** Returns true for an address at the broker: in call mode the client calls it by itself, with a ticket. */
  isOwn(url: RequestInfo | URL): boolean {
    return new URL(`${url}`, BASE).origin === BASE.origin;
  }

  /** Sends an offer to the broker. Has the signature of `fetch`. */
  readonly fetch: typeof fetch = async (to, init) => {
    const own = this.isOwn(to) ? new Headers(init?.headers) : null;
    const headers = own ?? { ...this.#desk.credential(), 'content-type': 'application/sdp' };
    const url = new URL('calls', BASE);
    const { signal, body } = { signal: null, body: null, ...init };
    const response = await fetch(own ? to : url, { method: 'POST', headers, body, signal });
    if (response.ok) {
      const ticket = response.headers.get('x-call-token') ?? own?.get('authorization')?.slice(7) ?? this.#desk.person?.bearer;
      this.#follow(`${url}`, `${response.headers.get('location')?.split('/').pop()}`, { ticket: `${ticket}`, signal });
      this.#parts.answered();
    }
    return response;
  };

  /** Shows and tells no more of the call. */
  forget(): void {
    this.#call = null;
    this.#place.hidden = true;
  }

  #follow(calls: string, id: string, { ticket, signal }: { ticket: string; signal: AbortSignal | null }): void {
    const call = (this.#call = followCall({ url: `${calls}/${id}`, ticket }));
    const { tell } = this.#parts;
    this.#whole = 0;
    call.subscribe(() => call === this.#call && this.#show(call));
    call.on('warning', ({ secondsLeft }) => tell(`The broker ends this call in ${secondsLeft} s.`));
    call.on('ended', ({ reason }) => call === this.#call && tell(`The call has ended: ${WHY[`${reason}`] ?? 'the broker does not say why'}.`));
    // The client aborts when it gives up and when it disconnects.
    signal?.addEventListener('abort', () => void call.hangUp());
  }

  #show(call: FollowedCall): void {
    const { secondsLeft, cost, warning, turns } = call.getSnapshot();
    this.#place.hidden = secondsLeft === null;
    if (secondsLeft === null) return;
    this.#whole = Math.max(this.#whole, secondsLeft);
    this.#place.toggleAttribute('data-warns', warning);
    this.#ring.setAttribute('stroke-dashoffset', `${AROUND * (1 - secondsLeft / this.#whole)}`);
    write(need('leash-left'), countdown(secondsLeft * 1000));
    write(need('leash-cost'), `$${cost.toFixed(4)}`);
    this.#place.title = `Until the broker hangs up, and the price of ${turns} ${turns === 1 ? 'answer' : 'answers'} so far`;
  }
}
