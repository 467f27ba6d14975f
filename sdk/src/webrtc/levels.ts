// Owns how loud a stream is.

/** Reads the level of a stream until it is closed. */
export interface LevelMeter {
  /** The peak of the last moment, from 0 to 1. Read it in an animation frame. */
  read(): number;
  close(): void;
}

/** Measures `stream`: the microphone, or what the model says. The stream itself is not touched. */
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
