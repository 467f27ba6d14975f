// Measures the loudness of a stream.

/** Measures until it is closed. */
export interface LevelMeter {
  /** Returns the current peak, from 0 to 1. Read it in an animation frame. */
  read(): number;
  close(): void;
}

/** Measures `stream`: the microphone or the model's voice. The stream stays as it is. */
export function createLevelMeter(stream: MediaStream): LevelMeter {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 512;
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  return {
    read() {
      analyser.getFloatTimeDomainData(samples);
      return samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0);
    },
    close: () => void context.close(),
  };
}
