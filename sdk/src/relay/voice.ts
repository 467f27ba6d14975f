// The voice of a page and the voice of the model as events of a WebSocket: 24 kHz PCM in base64, both ways.
import type { RealtimeEvent } from '../webrtc/call.js';

/** Samples in a second, as sessions have them unless their persona says otherwise. */
const RATE = 24_000;
/** Samples of the microphone in one event: some 85 ms at 48 kHz. */
const CHUNK = 4096;

/** Returns a function that brings samples of `rate` to 24 kHz: each is the mean of those that it covers. What is left of one call counts in the next. */
export function resampler(rate: number): (samples: Float32Array) => Int16Array {
  const step = rate / RATE;
  let rest = new Float32Array();
  /** Where the next sample begins in `rest`. */
  let at = 0;
  return (samples) => {
    const all = new Float32Array(rest.length + samples.length);
    all.set(rest);
    all.set(samples, rest.length);
    const out: number[] = [];
    for (; at + step <= all.length; at += step) {
      const covered = all.subarray(Math.floor(at), Math.max(Math.floor(at + step), Math.floor(at) + 1));
      const mean = covered.reduce((sum, each) => sum + each, 0) / covered.length;
      out.push(Math.round(Math.max(-1, Math.min(1, mean)) * 32_767));
    }
    rest = all.slice(Math.floor(at));
    at -= Math.floor(at);
    return Int16Array.from(out);
  };
}

/** Returns samples as base64. */
export const encode = (samples: Int16Array): string => btoa(Array.from(new Uint8Array(samples.buffer), (byte) => String.fromCharCode(byte)).join(''));

/** Returns the samples in base64, from -1 to 1. Half a sample at the end is left out. */
export function decode(base64: string): Float32Array<ArrayBuffer> {
  const bytes = Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0));
  return Float32Array.from(new Int16Array(bytes.buffer, 0, bytes.length >> 1), (sample) => sample / 32_768);
}

/** Both voices of a conversation. */
export interface Voice {
  /** The model's voice. */
  readonly remote: MediaStream;
  /** Plays what the model says. It falls silent when somebody speaks. */
  hear(event: RealtimeEvent): void;
  close(): void;
}

/** Sends `stream` as events of `say`, and plays the model's voice into `remote`. */
export function openVoice(stream: MediaStream | null, say: (event: RealtimeEvent) => void): Voice {
  const context = new AudioContext();
  const out = context.createMediaStreamDestination();
  const playing = new Set<AudioBufferSourceNode>();
  /** The end of what is played, on the clock of `context`. */
  let end = 0;
  /** What is played now, and since when. */
  let item: { item_id: unknown; content_index: unknown; since: number } | null = null;
  // A context that began without a click waits for one.
  void context.resume();
  if (stream?.getAudioTracks().length) {
    // An AudioWorklet needs a file of its own, which a Content-Security-Policy may forbid.
    const ear = context.createScriptProcessor(CHUNK, 1, 1);
    const bring = resampler(context.sampleRate);
    ear.onaudioprocess = ({ inputBuffer }) => say({ type: 'input_audio_buffer.append', audio: encode(bring(inputBuffer.getChannelData(0))) });
    context.createMediaStreamSource(stream).connect(ear).connect(context.destination);
  }
  const play = ({ delta, item_id, content_index }: RealtimeEvent): void => {
    const samples = decode(`${delta}`);
    if (!samples.length) return;
    const buffer = context.createBuffer(1, samples.length, RATE);
    buffer.copyToChannel(samples, 0);
    const start = Math.max(end, context.currentTime);
    end = start + buffer.duration;
    if (item?.item_id !== item_id) item = { item_id, content_index, since: start };
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(out);
    source.onended = () => playing.delete(source);
    source.start(start);
    playing.add(source);
  };
  const hush = (): void => {
    if (!playing.size || !item) return;
    for (const source of playing) source.stop();
    const { since, ...at } = item;
    // The model is told how much of its words was heard.
    say({ type: 'conversation.item.truncate', ...at, audio_end_ms: Math.max(Math.round((context.currentTime - since) * 1000), 0) });
    playing.clear();
    item = null;
    end = 0;
  };
  return {
    remote: out.stream,
    hear(event) {
      if (event.type === 'response.output_audio.delta') play(event);
      if (event.type === 'input_audio_buffer.speech_started') hush();
    },
    close: () => void (context.state !== 'closed' && context.close()),
  };
}
