// Turns recordings into text through the broker.
import { readEvents } from '../call/stream.js';
import { invalid } from '../answer.js';
import { systemClock } from '../clock.js';
import { failure, TokenError } from '../errors.js';
import { refusal } from '../refusal.js';
import { type BrokerOptions, below, known, provided } from '../sources.js';

/** How to reach the broker, and how to transcribe. */
export interface TranscribeOptions extends Pick<BrokerOptions, 'baseUrl' | 'headers' | 'credentials' | 'fetch' | 'clock'> {
  /** One of the models that the operator allows. Default: the operator's usual one. */
  model?: string;
  /** The language that is spoken, as ISO 639-1: `es`. */
  language?: string;
  /** Words that are likely in the recording. */
  prompt?: string;
  /** Receives each piece of the text as it is written. Not called where answers cannot be read as streams (React Native). */
  onDelta?: (text: string) => void;
  /** Stops the transcription. */
  signal?: AbortSignal;
}

/** What was said. */
export interface Transcript {
  text: string;
  /** What the transcription used, in the provider's figures. */
  usage?: unknown;
}

/**
 * Returns what is said in a recording of at most 25 MiB: the chunk of a `MediaRecorder`, a file of the user. Its type or its
 * name says the format. Rejects with a {@link TokenError}. A second attempt is yours: it is paid again.
 */
export async function transcribe(recording: Blob, options: TranscribeOptions = {}): Promise<Transcript> {
  const { model, language, prompt, onDelta, signal, credentials = 'same-origin', clock = systemClock } = options;
  const form = new FormData();
  const streams = onDelta && typeof ReadableStream !== 'undefined';
  for (const [name, value] of Object.entries({ model, language, prompt, stream: streams && 'true' })) {
    if (value) form.append(name, value);
  }
  form.append('file', recording);
  const headers = new Headers(await provided(options.headers, 'unauthorized'));
  // The boundary of the form is in a header that only fetch can write.
  headers.delete('content-type');
  const broken = (cause: unknown): TokenError => failure(cause, signal?.aborted ? 'aborted' : 'network');
  const response = await (options.fetch ?? fetch)(below(options, '/v1/audio/transcriptions'), {
    method: 'POST',
    headers,
    body: form,
    ...(signal && { signal }),
    ...known({ credentials, cache: 'no-store', redirect: 'error' }),
  }).catch((cause: unknown) => {
    throw broken(cause);
  });
  if (!response.ok) throw await refusal(response, clock.wall());
  const read = streams ? events(response, onDelta) : response.json();
  const transcript: unknown = await read.catch((cause: unknown) => {
    // An answer that is no JSON, or that broke off.
    throw cause instanceof SyntaxError ? invalid('no transcript') : broken(cause);
  });
  if (typeof (transcript as Transcript | undefined)?.text !== 'string') throw invalid('no transcript');
  return transcript as Transcript;
}

/** Reads the events of an answer. Returns the last one, which has the whole text; whisper-1 has no events but a document. */
async function events(response: Response, onDelta: (text: string) => void): Promise<unknown> {
  if (!`${response.headers.get('content-type')}`.startsWith('text/event-stream')) return response.json();
  let done: unknown;
  const heard = (event: unknown): void => {
    const { type, delta } = Object(event) as { type?: string; delta?: string };
    if (type === 'transcript.text.delta' && delta) onDelta(delta);
    if (type === 'transcript.text.done') done = event;
  };
  await readEvents(response, { heard, retry() {}, alive() {} });
  return done;
}
