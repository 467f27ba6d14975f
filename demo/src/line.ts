// Shows round trip and jitter of the call, once a second.
import { draw, need, write } from './dom.js';

const EVERY_MS = 1000;
/** Seconds that the graph covers. */
const MOST = 60;
/** Size of the graph. Its full height is at least `least` milliseconds. */
const SIZE = { width: 64, height: 16, least: 10 };

interface Figures {
  /** In milliseconds. */
  roundTrip?: number;
  jitter?: number;
}

/** The figures of the call. Hidden when the browser gives none. */
export class Line {
  readonly #place = need('line');
  readonly #picture = need<SVGSVGElement>('line-past');
  #peer: RTCPeerConnection | null = null;
  #past: number[] = [];
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Shows the figures of `peer`. Null shows nothing. */
  watch(peer: RTCPeerConnection | null): void {
    clearInterval(this.#timer);
    this.#peer = peer;
    this.#past = [];
    this.#place.hidden = true;
    if (peer) this.#timer = setInterval(() => void this.#look(peer), EVERY_MS);
  }

  async #look(peer: RTCPeerConnection): Promise<void> {
    const { roundTrip, jitter } = await peer.getStats().then(figures, (): Figures => ({}));
    if (peer !== this.#peer) return;
    const parts = [];
    if (roundTrip !== undefined) parts.push(`RTT ${whole(roundTrip)}`);
    if (jitter !== undefined) parts.push(`jitter ${whole(jitter)}`);
    write(need('line-now'), parts.join(' · '));
    this.#place.hidden = !parts.length;
    if (roundTrip !== undefined) this.#past = [...this.#past, roundTrip].slice(-MOST);
    this.#draw();
  }

  #draw(): void {
    const [low, high] = [Math.min(...this.#past), Math.max(...this.#past)];
    this.#picture.toggleAttribute('hidden', this.#past.length < 2);
    if (!this.#past.length) return;
    const { width, height, least } = SIZE;
    const scale = (height - 3) / Math.max(high, least);
    const points = this.#past.map((ms, n): [number, number] => [width - 2 - ((this.#past.length - 1 - n) * (width - 4)) / (MOST - 1), height - 1.5 - ms * scale]);
    const [x, y] = points.at(-1) ?? [0, 0];
    const floor = draw('path', { class: 'floor', d: `M2 ${height - 1.5}H${width - 2}` });
    this.#picture.replaceChildren(floor, draw('path', { d: `M${points.join('L')}` }), draw('circle', { cx: x, cy: y, r: 2 }));
    this.#picture.setAttribute('aria-label', `Round trip in the last ${this.#past.length} s: ${whole(low)} to ${whole(high)}`);
  }
}

const whole = (ms: number): string => (ms < 1 ? '< 1 ms' : `${Math.round(ms)} ms`);

/** Reads the figures from the candidate pair in use and the received audio. */
function figures(report: RTCStatsReport): Figures {
  const all: Record<string, unknown>[] = [];
  report.forEach((one) => all.push(one));
  const chosen = all.find(({ type }) => type === 'transport')?.['selectedCandidatePairId'];
  const pair = all.find(({ id, type, selected, nominated, state }) =>
    chosen ? id === chosen : type === 'candidate-pair' && (selected ?? (nominated && state === 'succeeded')));
  const sound = all.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'audio');
  const told: Figures = {};
  const [roundTrip, jitter] = [pair?.['currentRoundTripTime'], sound?.['jitter']];
  if (typeof roundTrip === 'number') told.roundTrip = roundTrip * 1000;
  if (typeof jitter === 'number') told.jitter = jitter * 1000;
  return told;
}
