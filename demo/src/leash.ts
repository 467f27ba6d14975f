// Shows what the broker tells of a call: the time left, the price, and why it ended.
import { draw, need, write } from './dom.js';
import type { FollowedCall } from './sdk.js';
import { countdown } from './words.js';

const RADIUS = 18;
const AROUND = 2 * Math.PI * RADIUS;
/** How long the price counts up to a new one, in milliseconds. */
const COUNT_MS = 700;
const stillness = matchMedia('(prefers-reduced-motion: reduce)');

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

const dollars = (price: number): string => `$${price.toFixed(4)}`;

/** The figures of the call that goes through the broker. */
export class Leash {
  readonly #tell: (words: string) => void;
  readonly #place = need('leash');
  readonly #ring = draw('circle', { class: 'left', cx: 21, cy: 21, r: RADIUS, 'stroke-dasharray': AROUND });
  #call: FollowedCall | null = null;
  /** The most seconds that were left. */
  #whole = 0;
  #price = 0;
  #shown = 0;

  /** `tell` puts a remark into the transcript. */
  constructor(tell: (words: string) => void) {
    this.#tell = tell;
    need('leash-ring').append(draw('circle', { cx: 21, cy: 21, r: RADIUS }), this.#ring);
  }

  /** Shows `call` until another one follows. Null shows nothing. */
  follow(call: FollowedCall | null): void {
    if (call === this.#call) return;
    this.#call = call;
    this.#whole = this.#price = this.#shown = 0;
    this.#place.hidden = true;
    if (!call) return;
    const tell = (words: string): void => void (call === this.#call && this.#tell(words));
    call.on('warning', ({ secondsLeft }) => tell(`The broker ends this call in ${secondsLeft} s.`));
    call.on('ended', ({ reason, cost }) => tell(`The call has ended: ${WHY[`${reason}`] ?? 'the broker does not say why'}. It cost ${dollars(cost)}.`));
    call.subscribe(() => call === this.#call && this.#show(call));
    this.#show(call);
  }

  #show(call: FollowedCall): void {
    const { secondsLeft, cost, estimatedCost, warning, turns } = call.getSnapshot();
    this.#place.hidden = secondsLeft === null;
    if (secondsLeft === null) return;
    this.#whole = Math.max(this.#whole, secondsLeft);
    this.#place.toggleAttribute('data-warns', warning);
    this.#ring.setAttribute('stroke-dashoffset', `${AROUND * (1 - secondsLeft / this.#whole)}`);
    write(need('leash-left'), countdown(secondsLeft * 1000));
    write(need('leash-note'), `${turns} ${turns === 1 ? 'answer' : 'answers'}${estimatedCost ? `, ${dollars(estimatedCost)} estimated` : ''}`);
    this.#count(cost);
  }

  /** Counts the price up to `price`. */
  #count(price: number): void {
    const [from, began] = [this.#shown, performance.now()];
    const isNew = price !== this.#price || !this.#shown;
    this.#price = price;
    const step = (): void => {
      if (price !== this.#price) return;
      const part = stillness.matches ? 1 : Math.min((performance.now() - began) / COUNT_MS, 1);
      this.#shown = from + (price - from) * part;
      write(need('leash-cost'), dollars(this.#shown));
      if (part < 1) requestAnimationFrame(step);
    };
    if (isNew) step();
  }
}
