// Owns one WebRTC call: offer, answer, the channel of events, and noticing that it broke.
import { type ConnectContext, ConnectionError } from '../connection.js';

/** An event of the Realtime API, in either direction. */
export interface RealtimeEvent {
  type: string;
  [field: string]: unknown;
}

export interface CallOptions {
  /** Where the offer goes. OpenAI, or a broker that exchanges offers itself (`tokens.urls.calls`). */
  url?: string;
  rtc?: RTCConfiguration;
  /** Plays the answer. By default an element of its own; null plays nothing. */
  audio?: HTMLAudioElement | null;
  fetch?: typeof fetch;
  /** How long a peer may be `disconnected` before that counts as broken, in milliseconds. 5000. */
  graceMs?: number;
  /** Longest time from the answer to the open channel, in milliseconds. 15 000. */
  openTimeoutMs?: number;
}

/** OpenAI's own endpoint for offers. */
export const OPENAI_CALLS = 'https://api.openai.com/v1/realtime/calls';

/** A call that is up. */
export interface RealtimeCall {
  readonly peer: RTCPeerConnection;
  /** What the model says. */
  readonly remote: MediaStream;
  /** From `Location`, for hanging up from a server; null when it cannot be read. */
  readonly callId: string | null;
  /** Milliseconds that the steps took: the exchange of offer and answer, and from there to the open channel. */
  readonly timings: { readonly sdp: number; readonly open: number };
  send(event: RealtimeEvent): void;
  close(): void;
}

async function exchange(url: string, sdp: string, { apiKey, signal }: ConnectContext, send: typeof fetch): Promise<Response> {
  const response = await send(url, {
    method: 'POST',
    // These two only: another header would need a preflight that OpenAI refuses.
    headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/sdp' },
    body: sdp,
    signal,
  });
  if (response.ok) return response;
  const text = await response.text();
  const told = /"message":\s*"([^"]*)"/.exec(text)?.[1];
  throw new ConnectionError('refused', `The offer was refused with ${response.status}: ${told ?? text.slice(0, 200)}`, {
    status: response.status,
  });
}

/** Calls. `hear` gets every event that the other side sends. */
export async function openCall(context: ConnectContext, options: CallOptions, hear: (event: RealtimeEvent) => void): Promise<RealtimeCall> {
  const { stream, signal, lost } = context;
  const { url = OPENAI_CALLS, graceMs = 5000, openTimeoutMs = 15_000 } = options;
  const peer = new RTCPeerConnection(options.rtc);
  const audio = options.audio === undefined ? new Audio() : options.audio;
  const remote = new MediaStream();
  let grace: ReturnType<typeof setTimeout> | undefined;
  let over = false;
  const close = (): void => {
    over = true;
    clearTimeout(grace);
    channel.close();
    peer.close();
    if (audio?.srcObject === remote) audio.srcObject = null;
  };
  const broken = (reason: string): void => {
    if (over) return;
    close();
    lost(new ConnectionError('lost', reason));
  };
  const channel = peer.createDataChannel('oai-events');
  signal.addEventListener('abort', close);
  peer.ontrack = ({ track }) => {
    remote.addTrack(track);
    if (!audio) return;
    audio.autoplay = true;
    audio.srcObject = remote;
  };
  const tracks = stream?.getAudioTracks() ?? [];
  for (const track of tracks) peer.addTrack(track, stream as MediaStream);
  if (!tracks.length) peer.addTransceiver('audio', { direction: 'recvonly' });
  try {
    const offer = await peer.createOffer();
    await peer.setLocalDescription(offer);
    const started = performance.now();
    const response = await exchange(url, `${offer.sdp}`, context, options.fetch ?? fetch);
    const sdp = await response.text();
    if (!sdp.startsWith('v=')) throw new ConnectionError('invalid_answer', `The answer is ${response.headers.get('content-type')}, not SDP.`);
    const answered = performance.now();
    const opened = new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new ConnectionError('timeout')), openTimeoutMs);
      const settle = (error?: unknown): void => {
        clearTimeout(late);
        if (error) reject(error);
        else resolve();
      };
      channel.onopen = () => settle();
      signal.addEventListener('abort', () => settle(signal.reason));
      peer.onconnectionstatechange = () => {
        const { connectionState: state } = peer;
        clearTimeout(grace);
        if (state === 'failed') settle(new ConnectionError('lost'));
        if (state === 'failed' || state === 'closed') broken(`The peer connection has ${state}.`);
        if (state === 'disconnected') grace = setTimeout(() => broken('The peer connection stayed disconnected.'), graceMs);
      };
    });
    channel.onmessage = ({ data }) => hear(JSON.parse(`${data}`) as RealtimeEvent);
    channel.onclose = () => broken('The other side has hung up.');
    await peer.setRemoteDescription({ type: 'answer', sdp });
    await opened;
    return {
      peer,
      remote,
      callId: response.headers.get('location')?.split('/').pop() ?? null,
      timings: { sdp: answered - started, open: performance.now() - answered },
      send: (event) => channel.send(JSON.stringify(event)),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}
