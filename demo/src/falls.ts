// Shows where the last request for a key and the last call spent their time.
import { make, need, write } from './dom.js';
import { span } from './words.js';
import type { Reading, Wire } from './wire.js';

/** One bar: its start and length in milliseconds. A null length is not known yet. */
type Bar = [name: string, from: number, ms: number | null];

const SECRET = ['round trip', 'in the broker', 'upstream'] as const;
const CALL = ['microphone', 'key', 'offer and answer', 'channel opens', 'first sound'];

export interface CallTimes {
  microphone?: number;
  key?: number;
  sdp: number;
  open: number;
}

/** Two groups of bars, each on its own scale. */
export class Falls {
  readonly #secret = make('ol.fall');
  readonly #call = make('ol.fall');
  #bars: Bar[] = [];
  #openAt: number | null = null;

  constructor(wire: Wire) {
    need('falls').append(group('Key', this.#secret), group('Call', this.#call));
    this.#show(this.#secret, SECRET.map((name) => [name, 0, null]));
    this.#show(this.#call, CALL.map((name) => [name, 0, null]));
    wire.heard.on((reading) => this.#request(reading));
  }

  #request({ made, status, tookMs, totalMs, upstreamMs, path }: Reading): void {
    if (made || status >= 400 || totalMs === undefined) return;
    this.#show(this.#secret, [
      [SECRET[0], 0, tookMs],
      // Each is a share of the one above. When within it, nobody measured.
      [SECRET[1], 0, totalMs],
      [SECRET[2], 0, upstreamMs ?? null],
    ]);
    write(need('latency-hint'), `${path}, from Server-Timing`);
  }

  /** Shows the steps of a call that has connected. */
  call({ microphone = 0, key = 0, sdp, open }: CallTimes): void {
    let at = 0;
    this.#bars = [microphone, key, sdp, open, null].map((ms, n) => [`${CALL[n]}`, (at += ms ?? 0) - (ms ?? 0), ms]);
    this.#openAt = performance.now();
    this.#show(this.#call, this.#bars);
  }

  /** Completes the steps when the model begins to speak. */
  spoken(): void {
    if (this.#openAt === null) return;
    const last = this.#bars.pop();
    if (last) this.#bars.push([last[0], last[1], Math.max(performance.now() - this.#openAt, 0.1)]);
    this.#openAt = null;
    this.#show(this.#call, this.#bars);
  }

  #show(list: HTMLElement, bars: Bar[]): void {
    const whole = Math.max(...bars.map(([, from, ms]) => from + (ms ?? 0)), 0.001);
    const rows = bars.map(([name, from, ms]) => {
      const fill = make('span.fill');
      fill.hidden = ms === null;
      fill.style.setProperty('--from', `${(from / whole) * 100}%`);
      fill.style.setProperty('--long', `${((ms ?? 0) / whole) * 100}%`);
      return make('li', make('span.name', name), make('span.track', fill), make('span.value', ms === null ? '–' : span(ms)));
    });
    list.replaceChildren(...rows);
  }
}

function group(title: string, list: HTMLElement): HTMLElement {
  return make('div', make('h3', title), list);
}
