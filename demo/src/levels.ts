// Draws the loudness of a stream: its last seconds as bars.
import { createLevelMeter, type LevelMeter } from './sdk.js';

const BAR = 3;
const GAP = 2;
const STEP_MS = 60;

/** The loudness of one stream on one canvas. */
export class LevelStrip {
  readonly #canvas: HTMLCanvasElement;
  #meter: LevelMeter | null = null;
  #peaks: number[] = [];
  #drawnAt = 0;
  #frame = 0;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.#draw()).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw());
    addEventListener('theme', () => this.#draw());
  }

  /** Measures `stream`. Null stops measuring. */
  listen(stream: MediaStream | null): void {
    this.#meter?.close();
    cancelAnimationFrame(this.#frame);
    this.#meter = stream?.getAudioTracks().length ? createLevelMeter(stream) : null;
    this.#peaks = [];
    if (this.#meter) this.#frame = requestAnimationFrame(this.#look);
    else this.#draw();
  }

  readonly #look = (now: number): void => {
    this.#frame = requestAnimationFrame(this.#look);
    if (now - this.#drawnAt < STEP_MS) return;
    this.#drawnAt = now;
    this.#peaks.push(Math.min(this.#meter?.read() ?? 0, 1));
    this.#draw();
  };

  #draw(): void {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const scale = devicePixelRatio;
    this.#canvas.width = width * scale;
    this.#canvas.height = height * scale;
    const pen = this.#canvas.getContext('2d');
    if (!pen) return;
    pen.scale(scale, scale);
    const colors = getComputedStyle(this.#canvas);
    const count = Math.floor(width / (BAR + GAP));
    this.#peaks = this.#peaks.slice(-count);
    for (let n = 0; n < count; n++) {
      const peak = this.#peaks[n - count + this.#peaks.length] ?? 0;
      // Square root, because hearing is logarithmic.
      const tall = Math.max(Math.sqrt(peak) * height, 2);
      pen.fillStyle = peak > 0.01 ? colors.color : colors.borderTopColor;
      pen.fillRect(n * (BAR + GAP), (height - tall) / 2, BAR, tall);
    }
    // Lets tests read the level without reading pixels.
    this.#canvas.dataset['peak'] = Math.max(...this.#peaks, 0).toFixed(2);
  }
}
