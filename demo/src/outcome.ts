// Tells the story of the last fault: what the client did about it, step by step.
import type { Desk, DeskEvent } from './desk.js';
import { make, need, write } from './dom.js';
import type { EventLog } from './log.js';
import { span } from './words.js';
import type { Reading, Wire } from './wire.js';

type Tone = 'good' | 'warn' | 'bad' | 'rest';

/** Upper bound for the steps of one story. */
const MOST = 12;
/** How long after its end a story still takes steps, in milliseconds. */
const AFTERWARDS_MS = 2500;

/** The story of one fault, shown below the faults. */
export class Outcome {
  readonly #place = need('outcome');
  readonly #desk: Desk;
  readonly #log: EventLog;
  #steps: HTMLElement | null = null;
  #what = '';
  #last = { text: '', count: 0 };
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
    this.#place.append(make('p.hint', 'No fault yet.'));
  }

  /** Starts the story of a fault. */
  begin(what: string): void {
    this.#what = what;
    this.#gap = false;
    this.#heldBefore = this.#desk.tokens.isTokenValid();
    this.#steps = make('ol.steps', make('li', what));
    this.#last = { text: what, count: 1 };
    this.#place.replaceChildren(this.#steps);
  }

  /** Adds a step. A repeated step is counted. */
  add(text: string, tone: Tone): void {
    const item = this.#steps?.lastElementChild;
    if (!this.#steps || !item) return;
    if (text === this.#last.text) return write(item, `${text} ×${++this.#last.count}`);
    if (this.#steps.childElementCount >= MOST) return;
    this.#last = { text, count: 1 };
    const next = make('li', text);
    next.dataset['tone'] = tone;
    this.#steps.append(next);
  }

  /** Ends the story. Steps that follow soon still belong to it. */
  finish(): void {
    const steps = this.#steps;
    setTimeout(() => this.#steps === steps && (this.#steps = null), AFTERWARDS_MS);
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
      if (willRetry) this.add(`waits ${span(this.#wait(nextAttemptAt))}${error.retryAfterMs ? ', as the broker asked' : ''}`, 'rest');
      else if (this.#desk.tokens.isTokenValid()) this.#end('keeps the current key', 'good');
      else this.#end(error.hint, 'bad');
    } else {
      this.#end(`new key${this.#heldBefore && !this.#gap ? ', no gap' : ''}`, 'good');
    }
  }

  #wait(until: number | null): number {
    return Math.max((until ?? 0) - this.#desk.wall(), 0);
  }

  #end(text: string, tone: Tone): void {
    this.add(text, tone);
    this.#log.add({ from: 'secret', text: `${this.#what} → ${text}`, tone: tone === 'good' ? 'good' : 'bad' });
    this.finish();
  }
}
