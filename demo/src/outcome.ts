// Owns the story of the last fault: what the client did about it, step by step, as it happened.
import type { Desk, DeskEvent } from './desk.js';
import { make, need } from './dom.js';
import type { EventLog } from './log.js';
import { span } from './words.js';
import type { Reading, Wire } from './wire.js';

type Tone = 'good' | 'warn' | 'bad' | 'rest';

/** Most steps of one story. */
const MOST = 12;
const AFTERWARDS_MS = 2500;

/** Tells what follows a fault. */
export class Outcome {
  readonly #place = need('outcome');
  readonly #desk: Desk;
  readonly #log: EventLog;
  #steps: HTMLElement | null = null;
  #what = '';
  #heldBefore = false;
  #gap = false;

  constructor(desk: Desk, wire: Wire, log: EventLog) {
    this.#desk = desk;
    this.#log = log;
    wire.heard.on((reading) => this.#hear(reading));
    desk.told.on((event) => this.#told(event));
    desk.changed.on(({ token }) => {
      if (!token && this.#heldBefore) this.#gap = true;
    });
    this.#place.append(make('p.hint', 'Nothing is broken yet.'));
  }

  /** Something is broken, or mended, from now on. */
  begin(what: string): void {
    this.#what = what;
    this.#gap = false;
    this.#heldBefore = this.#desk.tokens.isTokenValid();
    this.#steps = make('ol.steps', make('li', what));
    this.#place.replaceChildren(this.#steps);
  }

  /** Something that is not about secrets followed. */
  add(text: string, tone: Tone): void {
    if (!this.#steps || this.#steps.childElementCount >= MOST) return;
    const item = make('li', text);
    item.dataset['tone'] = tone;
    this.#steps.append(item);
  }

  #hear({ status, path, code, made }: Reading): void {
    if (status < 400) this.add(`${status} ${path}`, 'rest');
    else this.add(`${status} ${path}${made ? '' : ` ${code ?? ''}`}`, 'warn');
  }

  #told(event: DeskEvent): void {
    if (!this.#steps) return;
    if (event.type === 'tokenExpired') {
      this.add(`expired ${span(event.lateByMs)} ago`, 'warn');
    } else if (event.type === 'tokenError') {
      const { error, willRetry, nextAttemptAt } = event;
      if (!error.status) this.add(error.code, 'warn');
      if (willRetry) this.add(`waits ${span(this.#wait(nextAttemptAt))}${error.retryAfterMs ? ', as told' : ''}`, 'rest');
      else this.#end(this.#desk.tokens.isTokenValid() ? 'keeps the secret at hand' : error.hint, this.#desk.tokens.isTokenValid() ? 'good' : 'bad');
    } else {
      this.#end(`new secret${this.#heldBefore && !this.#gap ? ', no gap' : ''}`, 'good');
    }
  }

  #wait(until: number | null): number {
    return Math.max((until ?? 0) - this.#desk.wall(), 0);
  }

  #end(text: string, tone: Tone): void {
    this.add(text, tone);
    this.#log.add({ from: 'secret', text: `${this.#what} → ${text}`, tone: tone === 'good' ? 'good' : 'bad' });
    // What comes soon after belongs to it, what comes later does not.
    const steps = this.#steps;
    setTimeout(() => this.#steps === steps && (this.#steps = null), AFTERWARDS_MS);
  }
}
