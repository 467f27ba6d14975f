// Shows the limits: what is left of each window, what refused last. Adds two buttons that run into them.
import { BASE, type Person } from './about.js';
import type { Desk } from './desk.js';
import { button, enable, make, need, write } from './dom.js';
import type { EventLog } from './log.js';
import type { Outcome } from './outcome.js';
import { wait } from './words.js';
import type { Reading, Wire } from './wire.js';

/** Upper bound for the requests that use up a window. */
const MOST = 40;
/** Upper bound for the requests that earn a block: the broker tolerates ten times a limit, and then counts one offence a second. */
const MOST_KNOCKS = 600;
/** Pause after a refusal. */
const KNOCK_MS = 25;

type Guard = 'token' | 'refresh' | 'block' | 'quota';

interface Row {
  value: HTMLElement;
  /** When requests pass again, by `performance.now()`. */
  until: number;
  rest: string;
  told: string;
  /** The bar of a window: as long as what is left. */
  gauge: HTMLElement | null;
  share: number;
  /** The length of the bar after the window: full once the limit is known. */
  whole: number;
}

/** The card of the limits, filled from the broker's answers. */
export class Guards {
  readonly #desk: Desk;
  readonly #wire: Wire;
  readonly #log: EventLog;
  readonly #outcome: Outcome;
  readonly #rows: Record<Guard, Row>;
  #busy = false;
  #who: Person | null = null;

  constructor(desk: Desk, wire: Wire, log: EventLog, outcome: Outcome) {
    this.#desk = desk;
    this.#outcome = outcome;
    this.#wire = wire;
    this.#log = log;
    this.#rows = { token: row('Sessions'), refresh: row('Refreshes'), block: row('Block', 'none'), quota: row('Quota', '–') };
    need('guards').hidden = false;
    wire.heard.on((reading) => this.#hear(reading));
    this.#add('spend', 'Reach the limit', 'Asks for sessions until the broker refuses one.', 0);
    this.#add('knock', 'Get blocked', 'Goes on asking after refusals, until the broker blocks this address.', KNOCK_MS);
    desk.changed.on(() => this.#person());
    this.#person();
    setInterval(() => this.#show(), 500);
  }

  #person(): void {
    const { person } = this.#desk;
    const { quota } = this.#rows;
    // A quota belongs to a person.
    if (this.#who !== person) quota.until = 0;
    this.#who = person;
    quota.rest = person ? `${person.name}'s: not exceeded` : 'sign in to see it';
  }

  #hear({ made, path, window, code, retryAfterSeconds = 0 }: Reading): void {
    if (made) return;
    const now = performance.now();
    if (window) {
      const row = this.#rows[path === '/token' ? 'token' : 'refresh'];
      const { limit, left, resetSeconds } = window;
      const until = now + resetSeconds * 1000;
      Object.assign(row, { rest: `${limit} of ${limit} left`, told: `${left} of ${limit} left`, until, share: left / limit, whole: 1 });
      row.value.dataset['tone'] = left ? 'good' : 'bad';
    }
    if (code === 'blocked') this.#refused('block', 'blocked', now + retryAfterSeconds * 1000);
    if (code === 'quota_exceeded') this.#refused('quota', 'used up', now + retryAfterSeconds * 1000);
    this.#show();
  }

  #refused(guard: Guard, told: string, until: number): void {
    Object.assign(this.#rows[guard], { told, until });
    this.#rows[guard].value.dataset['tone'] = 'bad';
  }

  #show(): void {
    const now = performance.now();
    for (const { value, gauge, share, whole, until, rest, told } of Object.values(this.#rows)) {
      const left = until - now;
      if (left <= 0) value.dataset['tone'] = 'good';
      write(value, left > 0 ? `${told} · ${wait(left)}` : rest);
      gauge?.style.setProperty('--long', `${(left > 0 ? share : whole) * 100}%`);
    }
  }

  #add(id: string, label: string, what: string, pauseMs: number): void {
    const control = button(label, 'button fault', () => void this.#ask(what, pauseMs));
    control.id = id;
    control.title = what;
    need('chaos').append(control);
  }

  /** Asks for sessions, bypassing the client, until the first refusal. With a pause after each refusal, until blocked. */
  async #ask(what: string, pauseMs: number): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    this.#log.add({ from: 'page', text: what, tone: 'chaos' });
    this.#outcome.begin(what);
    for (const id of ['spend', 'knock']) enable(need(id), false);
    let last: Reading | null = null;
    const off = this.#wire.heard.on((reading) => (last = reading));
    for (let n = 0; n < (pauseMs ? MOST_KNOCKS : MOST); n++) {
      await this.#wire.fetch(new URL('token', BASE), { method: 'POST', headers: this.#desk.credential() }).catch(() => null);
      const told = last as Reading | null;
      const refused = told !== null && told.status >= 400;
      if (!told || told.code === 'blocked' || (refused && !pauseMs)) break;
      if (refused) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    off();
    this.#outcome.finish();
    for (const id of ['spend', 'knock']) enable(need(id), true);
    this.#busy = false;
  }
}

function row(name: string, rest = ''): Row {
  const value = make('dd');
  const gauge = rest ? null : make('span.fill');
  need('limits').append(make('div', make('dt', name), value, ...(gauge ? [make('dd.track', gauge)] : [])));
  return { value, gauge, share: 0, whole: 0, until: 0, rest: rest || 'no data yet', told: '' };
}
