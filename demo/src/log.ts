// The event log: one line for each event, repeats counted, details on demand.
import { button, follow, make, need, write } from './dom.js';

/** The source of an entry. */
export type From = 'secret' | 'broker' | 'call' | 'model' | 'page';

export interface Entry {
  from: From;
  text: string;
  /** The colour. The words say the same. */
  tone?: 'good' | 'warn' | 'bad' | 'chaos';
  /** Shown when the entry is opened. Keys mask themselves in JSON. */
  held?: unknown;
}

interface Line extends Entry {
  at: Date;
  count: number;
  item: HTMLLIElement;
}

const NAMES: Record<From, string> = { secret: 'Key', broker: 'Broker', call: 'Call', model: 'Model', page: 'You' };
/** The model's events outnumber all others by far. */
const HIDDEN_AT_FIRST: From = 'model';
/** Upper bound for the lines kept. The oldest line is removed first. */
const MOST = 400;

/** The log. */
export class EventLog {
  readonly #list = need('log');
  readonly #follow = follow(this.#list);
  #lines: Line[] = [];
  #waiting: [Entry, Date][] | null = null;

  constructor() {
    for (const [from, name] of Object.entries(NAMES)) {
      const chip = button(name, 'chip', () => toggle());
      const toggle = (): void => {
        const hidden = this.#list.classList.toggle(`without-${from}`);
        chip.setAttribute('aria-pressed', `${!hidden}`);
        this.#follow();
        this.#count();
      };
      chip.setAttribute('aria-pressed', 'true');
      need('filters').append(chip);
      if (from === HIDDEN_AT_FIRST) toggle();
    }
    need('log-pause').addEventListener('click', () => this.#pause());
    need('log-export').addEventListener('click', () => this.#export());
    this.#list.addEventListener('keydown', (event) => this.#walk(event));
    this.#count();
  }

  add(entry: Entry, at = new Date()): void {
    if (this.#waiting) {
      if (this.#waiting.length < MOST) this.#waiting.push([entry, at]);
      return this.#count();
    }
    const last = this.#lines.at(-1);
    if (last && last.from === entry.from && last.text === entry.text) this.#repeat(last, entry);
    else this.#append(entry, at);
    this.#follow();
    this.#count();
  }

  #append(entry: Entry, at: Date): void {
    const item = make('li');
    item.dataset['from'] = entry.from;
    if (entry.tone) item.dataset['tone'] = entry.tone;
    const head = [since(at), make('b', NAMES[entry.from]), make('span.text', ...breakable(entry.text)), make('span.times')];
    if (entry.held === undefined) item.append(make('p', ...head));
    else {
      const summary = make('summary', ...head);
      // The log is one stop for Tab. Arrows move inside.
      summary.tabIndex = -1;
      const details = make('details', summary);
      details.addEventListener('toggle', () => open(details, line.held), { once: true });
      item.append(details);
    }
    const line: Line = { ...entry, at, count: 1, item };
    this.#lines.push(line);
    this.#list.append(item);
    if (this.#lines.length > MOST) this.#lines.shift()?.item.remove();
  }

  #repeat(line: Line, entry: Entry): void {
    line.count++;
    line.held = entry.held;
    const times = line.item.querySelector('.times');
    if (times) write(times, `×${line.count}`);
  }

  #walk(event: KeyboardEvent): void {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const stops = [...this.#list.querySelectorAll('summary')].filter((summary) => summary.checkVisibility());
    const at = stops.indexOf(document.activeElement as HTMLElement);
    stops.at(at < 0 ? (step < 0 ? -1 : 0) : Math.min(Math.max(at + step, 0), stops.length - 1))?.focus();
  }

  #pause(): void {
    const waiting = this.#waiting;
    this.#waiting = waiting ? null : [];
    const control = need('log-pause');
    control.setAttribute('aria-pressed', `${!waiting}`);
    write(control, waiting ? 'Pause' : 'Resume');
    for (const [entry, at] of waiting ?? []) this.add(entry, at);
    this.#count();
  }

  #count(): void {
    const total = (lines: Line[]): number => lines.reduce((sum, { count }) => sum + count, 0);
    const hidden = total(this.#lines.filter(({ from }) => this.#list.classList.contains(`without-${from}`)));
    const shown = `${total(this.#lines)} events${hidden ? `, ${hidden} hidden` : ''}`;
    write(need('log-count'), this.#waiting ? `paused, ${this.#waiting.length} waiting` : this.#lines.length ? shown : 'no events yet');
  }

  #export(): void {
    const text = this.#lines.map(({ at, from, text, count, held }) => JSON.stringify({ at, from, text, count, held })).join('\n');
    const link = make('a');
    link.href = URL.createObjectURL(new Blob([text], { type: 'application/x-ndjson' }));
    link.download = 'events.ndjson';
    link.click();
    URL.revokeObjectURL(link.href);
  }
}

/** Formats the seconds since the page was opened, with the time of day as its title. */
function since(at: Date): HTMLElement {
  const time = make('time', ((at.getTime() - performance.timeOrigin) / 1000).toFixed(1));
  time.dateTime = at.toISOString();
  time.title = at.toLocaleTimeString();
  return time;
}

/** Lets long event names break after dots and underscores. */
function breakable(text: string): (Node | string)[] {
  return text.split(/(?<=[._])(?=[a-z])/).flatMap((part) => [part, make('wbr')]);
}

function open(details: HTMLDetailsElement, held: unknown): void {
  details.append(make('pre', JSON.stringify(held, null, 2)));
}
