// A synthetic voice: syllables from an oscillator and two formants, as a stream for a call.

/** Vowels by their first two formants, in hertz: a, e, i, o, u. */
const VOWELS = [[730, 1090], [530, 1840], [390, 1990], [570, 840], [440, 1020]] as const;
const SYLLABLE_MS = 150;

/** A voice that speaks nonsense at a fixed pitch. */
export class Voice {
  readonly stream: MediaStream;
  readonly #context = new AudioContext();
  readonly #source: OscillatorNode;
  readonly #formants: BiquadFilterNode[];
  readonly #gain: GainNode;
  readonly #pitch: number;

  constructor(pitch: number) {
    const context = this.#context;
    const out = context.createMediaStreamDestination();
    this.#pitch = pitch;
    this.#source = new OscillatorNode(context, { type: 'sawtooth', frequency: pitch });
    this.#gain = new GainNode(context, { gain: 0 });
    this.#formants = [6, 9].map((Q) => new BiquadFilterNode(context, { type: 'bandpass', Q }));
    for (const formant of this.#formants) this.#source.connect(formant).connect(this.#gain);
    this.#gain.connect(out);
    this.#source.start();
    this.stream = out.stream;
  }

  /** Speaks that many syllables. Returns how long that takes, in milliseconds. */
  say(syllables: number): number {
    void this.#context.resume();
    this.hush();
    const start = this.#context.currentTime + 0.02;
    const step = SYLLABLE_MS / 1000;
    for (let n = 0; n < syllables; n++) {
      const at = start + n * step;
      const vowel = VOWELS[(n * 7 + syllables) % VOWELS.length] ?? VOWELS[0];
      this.#formants.forEach((formant, k) => formant.frequency.setTargetAtTime(vowel[k] ?? 800, at, 0.02));
      this.#source.frequency.setTargetAtTime(this.#pitch * (1.12 - (0.24 * n) / syllables + 0.05 * Math.sin(n * 2.1)), at, 0.04);
      this.#gain.gain.setTargetAtTime(n % 6 === 5 ? 0.1 : 0.7, at, 0.018);
      this.#gain.gain.setTargetAtTime(0.02, at + step * 0.7, 0.03);
    }
    this.#gain.gain.setTargetAtTime(0, start + syllables * step, 0.02);
    return syllables * SYLLABLE_MS;
  }

  hush(): void {
    this.#gain.gain.cancelScheduledValues(0);
    this.#gain.gain.setTargetAtTime(0, this.#context.currentTime, 0.015);
  }

  close(): void {
    void this.#context.close();
  }
}

/** Estimates how many syllables a text has. */
export function syllables(text: string): number {
  return text.match(/[aeiouy]+/gi)?.length ?? 1;
}
