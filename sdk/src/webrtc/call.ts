// One WebRTC call: offer, answer, the channel for events, and the detection of a break. At OpenAI, or through the broker. Where the
// broker relays, another module opens the conversation.
import type { FollowedCall } from '../call/follow.js';
import { checkAborted } from '../clock.js';
import { type ConnectContext, ConnectionError, ended } from '../connection.js';
import { refusal } from '../refusal.js';

/** An event of the Realtime API, in either direction. */
export interface RealtimeEvent {
  type: string;
  [field: string]: unknown;
}

export interface CallOptions {
  /** The endpoint for the offer. Default: the one that came with the key, or else OpenAI's. */
  url?: string;
  rtc?: RTCConfiguration;
  /** Plays the model's voice. By default a new element. Null plays nothing. */
  audio?: HTMLAudioElement | null;
  fetch?: typeof fetch;
  /** How long a peer may be `disconnected` before the call counts as broken, in milliseconds. 5000. */
  graceMs?: number;
  /** Longest time until the offer is answered, in milliseconds. 10 000. */
  timeoutMs?: number;
  /** Longest time from the answer to the open channel, in milliseconds. 15 000. */
  openTimeoutMs?: number;
}

/** OpenAI's own endpoint for offers. */
export const OPENAI_CALLS = 'https://api.openai.com/v1/realtime/calls';

/** Longest time that a peer stays open for the hang-up, silent, in milliseconds. */
const HANG_UP_MS = 500;

/** A connected call. */
export interface RealtimeCall {
  /** Null through the relay, which is a WebSocket. */
  readonly peer: RTCPeerConnection | null;
  /** What the model hears. Null without a microphone. */
  readonly microphone: MediaStream | null;
  /** The model's voice. */
  readonly remote: MediaStream;
  /** From `Location`, for a server that hangs up. Null when it cannot be read. Through the relay: the id of the session. */
  readonly callId: string | null;
  /** The duration of each step in milliseconds: offer to answer, and answer to open channel. */
  readonly timings: { readonly sdp: number; readonly open: number };
  /** What the broker knows of the call: its countdown, its price, its end. Null in direct mode. */
  readonly call: FollowedCall | null;
  /** Returns false when the call carries no events: the broker may have taken the channel out. */
  send(event: RealtimeEvent): boolean;
  /** Hangs up. */
  close(): void;
}

/** Throws the one error for a failed request: each browser words it differently, and none says why. */
const unreached = (cause: unknown): never => {
  throw new ConnectionError('network', undefined, { cause });
};

async function exchange(url: string, sdp: string, { apiKey, clock }: ConnectContext, signal: AbortSignal, send: typeof fetch): Promise<Response> {
  const response = await send(url, {
    method: 'POST',
    // Only these two: OpenAI refuses the preflight that another header needs.
    headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/sdp' },
    body: sdp,
    signal,
  }).catch(unreached);
  if (response.ok) return response;
  const { status } = response;
  const text = await response.clone().text().catch(() => '');
  const cause = await refusal(response, clock.wall());
  const told = /"message":\s*"([^"]*)"/.exec(text)?.[1];
  throw new ConnectionError('refused', `The offer was refused with ${status}: ${told ?? text.slice(0, 200)}`, { status, cause });
}

/** Opens a call. `hear` receives every event of the other side. */
export async function openCall(context: ConnectContext, options: CallOptions, hear: (event: RealtimeEvent) => void): Promise<RealtimeCall> {
  const { stream, signal, lost, clock } = context;
  const { mode = 'direct', calls = OPENAI_CALLS } = context.connect ?? {};
  if (mode === 'relay') return (await import('../relay/open.js')).openRelay(context, options, hear);
  if (!/^(direct|call)$/.test(mode)) throw new ConnectionError('unsupported_mode', `Unknown mode: ${mode}.`);
  // Loaded while the offer is on its way, and in call mode only.
  const loading = mode === 'call' ? import('../call/opened.js') : null;
  loading?.catch(() => {});
  const { url = calls, graceMs = 5000, timeoutMs = 10_000, openTimeoutMs = 15_000 } = options;
  checkAborted(signal);
  const peer = new RTCPeerConnection(options.rtc);
  const audio = options.audio === undefined ? new Audio() : options.audio;
  const remote = new MediaStream();
  const channel = peer.createDataChannel('oai-events');
  const posting = new AbortController();
  let grace: unknown;
  let late: unknown;
  let call: FollowedCall | null = null;
  let state: 'opening' | 'open' | 'over' = 'opening';
  /** False when the answer has taken the channel out. */
  let carriesEvents = true;
  let begin: () => void = () => {};
  let fail: (error: unknown) => void = () => {};
  const opened = new Promise<void>((resolve, reject) => {
    channel.onopen = begin = () => resolve();
    fail = reject;
  });
  opened.catch(() => {});
  /** Waits for `work`, even when it ignores its signal. */
  const unlessOver = <T>(work: Promise<T>): Promise<T> => Promise.race([work, opened as Promise<never>]);
  const shut = (): void => {
    channel.close();
    peer.close();
  };
  const leave = (): void => {
    state = 'over';
    clock.clearTimeout(grace);
    clock.clearTimeout(late);
    posting.abort();
    channel.onmessage = null;
    if (audio?.srcObject === remote) audio.srcObject = null;
  };
  const close = (): void => {
    leave();
    if (!call || call.getSnapshot().endedReason) return shut();
    if (peer.signalingState !== 'closed') for (const sender of peer.getSenders()) void sender.replaceTrack(null);
    // The broker hears of the hang-up before the provider misses the peer. Otherwise the provider would seem to have ended the call.
    late = clock.setTimeout(shut, HANG_UP_MS);
    void call.hangUp().then(() => clock.clearTimeout(late)).then(shut);
  };
  // A break before the channel was open is a failure to connect. Only afterwards there is a context to lose.
  const broken = (reason: string): void => {
    const before = state;
    if (before === 'over') return;
    const error = new ConnectionError('lost', reason);
    fail(error);
    leave();
    shut();
    if (before === 'open') lost(error);
  };
  signal.addEventListener('abort', () => {
    fail(signal.reason);
    close();
  });
  peer.onconnectionstatechange = () => {
    const now = peer.connectionState;
    clock.clearTimeout(grace);
    if (now === 'connected' && !carriesEvents) begin();
    if (now === 'failed' || now === 'closed') broken(`The peer connection has ${now}.`);
    if (now === 'disconnected') grace = clock.setTimeout(() => broken('The peer connection stayed disconnected.'), graceMs);
  };
  channel.onmessage = ({ data }) => hear(JSON.parse(`${data}`) as RealtimeEvent);
  channel.onclose = () => carriesEvents && broken('The other side has hung up.');
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
    const started = clock.monotonic();
    late = clock.setTimeout(() => fail(new ConnectionError('timeout', 'The offer was not answered in time.')), timeoutMs);
    const response = await unlessOver(exchange(url, `${offer.sdp}`, context, posting.signal, options.fetch ?? fetch));
    const sdp = await unlessOver(response.text().catch(unreached));
    clock.clearTimeout(late);
    if (!sdp.startsWith('v=')) throw new ConnectionError('invalid_answer', `The answer is ${response.headers.get('content-type')}, not SDP.`);
    const { headers } = response;
    const callId = headers.get('location')?.split('/').pop() ?? null;
    if (loading && callId) {
      const { followOpened } = await unlessOver(loading);
      call = followOpened(url, callId, context.apiKey, headers, { clock, ...(options.fetch && { fetch: options.fetch }) });
      call.on('ended', ({ reason }) => fail(ended(reason)));
    }
    carriesEvents = !/^m=application 0 /m.test(sdp);
    const answered = clock.monotonic();
    late = clock.setTimeout(() => fail(new ConnectionError('timeout')), openTimeoutMs);
    await peer.setRemoteDescription({ type: 'answer', sdp });
    await opened;
    clock.clearTimeout(late);
    state = 'open';
    return {
      peer,
      microphone: stream,
      remote,
      callId,
      call,
      timings: { sdp: answered - started, open: clock.monotonic() - answered },
      send(event) {
        if (carriesEvents) channel.send(JSON.stringify(event));
        return carriesEvents;
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}
