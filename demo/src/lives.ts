// Draws the timeline: each key a bar from its mint to its end, with faults and failures marked below.
import type { Desk, DeskEvent } from './desk.js';
import { draw, need } from './dom.js';
import { tail } from './words.js';

interface Life {
  name: string;
  from: number;
  until: number;
  /** When a newer key replaced this one, or this one was discarded. */
  left: number | null;
  refreshAt: number;
}

interface Mark {
  at: number;
  /** The label of the fault. Empty for a failed request. */
  text: string;
}

/** Seconds shown before and after now. */
const PAST = 90;
const FUTURE = 60;
/** Width of a name within its bar, with its margin. */
const NAME = 44;
const LANE = { top: 20, height: 18, step: 24 };

/** The timeline. It is drawn once a second and after each event. */
export class Lives {
  readonly #svg = need<SVGSVGElement>('lives');
  readonly #desk: Desk;
  #lives: Life[] = [];
  #marks: Mark[] = [];

  constructor(desk: Desk) {
    this.#desk = desk;
    desk.told.on((event) => this.#hear(event));
    desk.changed.on(({ token }) => {
      if (!token) this.#end();
      this.#draw();
    });
    new ResizeObserver(() => this.#draw()).observe(this.#svg);
    setInterval(() => this.#draw(), 1000);
  }

  /** Marks a fault. */
  broke(text: string): void {
    this.#marks.push({ at: performance.now(), text });
    this.#draw();
  }

  #hear(event: DeskEvent): void {
    const now = performance.now();
    if (event.type === 'tokenError') this.#marks.push({ at: now, text: '' });
    if (event.type === 'tokenRefreshed') {
      this.#end();
      const { refreshAt, expiresAt } = this.#desk.tokens.getSnapshot();
      const until = now + this.#desk.tokens.getTimeUntilExpiration();
      const lead = (expiresAt ?? 0) - (refreshAt ?? expiresAt ?? 0);
      this.#lives.push({ name: tail(event.token.masked), from: now, until, left: null, refreshAt: until - lead });
    }
    this.#draw();
  }

  #end(): void {
    const last = this.#lives.at(-1);
    if (last) last.left ??= performance.now();
  }

  #draw(): void {
    const width = this.#svg.clientWidth;
    if (!width || document.visibilityState === 'hidden') return;
    const now = performance.now();
    const x = (at: number): number => ((at - now) / 1000 + PAST) * (width / (PAST + FUTURE));
    this.#lives = this.#lives.filter(({ until }) => x(until) > -200);
    this.#marks = this.#marks.filter(({ at }) => x(at) > -50);
    const lane = (index: number): number => LANE.top + (index % 2) * LANE.step;
    const parts = [...axis(x, now, width)];
    this.#lives.forEach((life, index) => parts.push(...bar(life, x, lane(index))));
    let free = Infinity;
    for (const { at, text } of [...this.#marks].reverse()) {
      // Where two labels overlap, only the newer one is shown.
      const fits = x(at) + 14 + text.length * 7 < free;
      if (text) free = x(at) - 6;
      parts.push(...mark(x(at), text, fits));
    }
    parts.push(draw('path', { class: 'now', d: `M${x(now)} 12V78` }));
    parts.push(draw('text', { class: 'now-text', x: x(now), y: 9, 'text-anchor': 'middle' }, 'now'));
    this.#svg.replaceChildren(...parts);
  }
}

/** The heights of the marks for failures and faults, below the lanes. */
const FAILED = 68;
const BROKEN = 82;

function mark(x: number, text: string, fits: boolean): SVGElement[] {
  if (!text) return [draw('path', { class: 'failed', d: `M${x - 3} ${FAILED}l6 6m0-6l-6 6` })];
  return [
    draw('path', { class: 'broken', d: `M${x} ${BROKEN}l5 9h-10z` }),
    draw('text', { class: 'broken-text', x: x + 9, y: BROKEN + 9 }, fits ? text : ''),
  ];
}

type Place = (at: number) => number;

function axis(x: Place, now: number, width: number): SVGElement[] {
  return [-60, -30, 30].flatMap((seconds) => {
    const at = x(now + seconds * 1000);
    const label = width < 500 && seconds % 60 ? '' : `${seconds > 0 ? '+' : '−'}${Math.abs(seconds)} s`;
    return [
      draw('path', { class: 'grid', d: `M${at} 14V78` }),
      draw('text', { class: 'grid-text', x: at, y: 9, 'text-anchor': 'middle' }, label),
    ];
  });
}

function bar({ name, from, until, left, refreshAt }: Life, x: Place, y: number): SVGElement[] {
  const rect = (kind: string, start: number, end: number): SVGElement =>
    draw('rect', { class: kind, x: x(start), y, width: Math.max(x(end) - x(start), 2), height: LANE.height, rx: 4 });
  const used = left ?? until;
  const parts = [rect('life-rest', from, until), rect(left ? 'life past' : 'life', from, Math.min(used, until))];
  if (!left) parts.push(draw('path', { class: 'life-refresh', d: `M${x(refreshAt)} ${y - 2}v${LANE.height + 4}` }));
  const room = x(used) - NAME;
  const isCrossed = !left && x(refreshAt) > room && x(refreshAt) < x(used) - 3;
  if (room > Math.max(x(from), 0) && !isCrossed) {
    const kind = left ? 'life-text past' : 'life-text';
    parts.push(draw('text', { class: kind, x: x(used) - 7, y: y + 13, 'text-anchor': 'end' }, name));
  }
  return parts;
}
