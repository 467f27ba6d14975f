// One conversation over the broker's WebSocket, for networks without UDP. Loaded in relay mode only.
import { type FollowedCall, followCall } from '../call/follow.js';
import { checkAborted } from '../clock.js';
import { type ConnectContext, ConnectionError, ended } from '../connection.js';
import type { CallOptions, RealtimeCall, RealtimeEvent } from '../webrtc/call.js';
import { openVoice } from './voice.js';

/** Audio of the microphone is left out while so many bytes wait to be sent. */
const MOST_WAITING = 1_000_000;

/** Opens a conversation. `hear` receives every event of the other side. */
export async function openRelay(context: ConnectContext, options: CallOptions, hear: (event: RealtimeEvent) => void): Promise<RealtimeCall> {
  const { stream, signal, lost, clock, apiKey } = context;
  const { realtime, calls } = context.connect ?? {};
  const { url = `${realtime}`, timeoutMs = 10_000 } = options;
  checkAborted(signal);
  const started = clock.monotonic();
  // A browser sends no headers with a WebSocket.
  const socket = new WebSocket(url, ['realtime', `openai-insecure-api-key.${apiKey}`]);
  const audio = options.audio === undefined ? new Audio() : options.audio;
  let state: 'opening' | 'open' | 'over' = 'opening';
  let call: FollowedCall | null = null;
  let answered = started;
  /** The last error of the other side: it says why the connection ends. */
  let told = '';
  let fail: (error: unknown) => void = () => {};
  const send = (event: RealtimeEvent): boolean => {
    const isOpen = socket.readyState === socket.OPEN;
    if (isOpen) socket.send(JSON.stringify(event));
    return isOpen;
  };
  const voice = openVoice(stream, (event) => {
    if (state === 'open' && socket.bufferedAmount < MOST_WAITING) send(event);
  });
  const close = (): void => {
    state = 'over';
    clock.clearTimeout(late);
    socket.onmessage = null;
    socket.close(1000);
    voice.close();
    if (audio?.srcObject === voice.remote) audio.srcObject = null;
  };
  const id = new Promise<string>((resolve, reject) => {
    fail = reject;
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(`${data}`) as RealtimeEvent;
      const { id, error } = { ...Object(event['session']), ...event } as { id?: string; error?: { message?: string } };
      if (event.type === 'session.created') resolve(`${id}`);
      if (event.type === 'error') told = `${error?.message}`;
      voice.hear(event);
      hear(event);
    };
  });
  id.catch(() => {});
  const late = clock.setTimeout(() => fail(new ConnectionError('timeout', 'The WebSocket was not open in time.')), timeoutMs);
  socket.onopen = () => (answered = clock.monotonic());
  // Nothing tells a page why a WebSocket was refused.
  socket.onclose = ({ code, reason }) => {
    const before = state;
    const why = told || reason || `The WebSocket was closed with ${code}.`;
    const error = before === 'open' ? new ConnectionError('lost', why) : new ConnectionError('refused', why);
    fail(error);
    if (before === 'over') return;
    close();
    if (before === 'open') lost(error);
  };
  signal.addEventListener('abort', () => {
    fail(signal.reason);
    close();
  });
  try {
    const callId = await id;
    clock.clearTimeout(late);
    if (calls) {
      call = followCall({ url: `${calls}/${callId}`, ticket: apiKey, clock, ...(options.fetch && { fetch: options.fetch }) });
      call.on('ended', ({ reason }) => fail(ended(reason)));
    }
    if (audio) {
      audio.autoplay = true;
      audio.srcObject = voice.remote;
    }
    state = 'open';
    const timings = { sdp: answered - started, open: clock.monotonic() - answered };
    return { peer: null, microphone: stream, remote: voice.remote, callId, call, timings, send, close };
  } catch (error) {
    close();
    throw error;
  }
}
