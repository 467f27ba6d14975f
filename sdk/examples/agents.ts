// With @openai/agents-realtime: a fresh key for each connect, and one more when it was refused. At OpenAI, or through the broker.
import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';
import { type TokenManager, withFreshKey } from '@realtime-token-broker/client';
import { followCall } from '@realtime-token-broker/client/call';
import type { Closable, ConnectContext } from '@realtime-token-broker/client/react';

/** The offer goes where the broker's answer says, or to `url`. */
export async function converse(tokens: TokenManager, url?: string): Promise<RealtimeSession> {
  // The microphone comes first, because its prompt can stay open longer than a key lives.
  const mediaStream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const agent = new RealtimeAgent({ name: 'Assistant', instructions: 'Answer in one sentence.' });
  const session = new RealtimeSession(agent, { transport: new OpenAIRealtimeWebRTC({ mediaStream }) });
  await withFreshKey(tokens, (apiKey, { connect }) => {
    const calls = url ?? connect?.calls;
    return session.connect({ apiKey, ...(calls && { url: calls }) });
  });
  return session;
}

/** The same as a connection: pass it as `connect` to `useRealtimeConnection`. Through the broker, the connection ends with the call. */
export async function agent({ apiKey, connect, stream, clock }: ConnectContext): Promise<Closable> {
  const transport = new OpenAIRealtimeWebRTC(stream ? { mediaStream: stream } : {});
  const session = new RealtimeSession(new RealtimeAgent({ name: 'Assistant' }), { transport });
  await session.connect({ apiKey, ...(connect?.calls && { url: connect.calls }) });
  const isCall = connect?.mode === 'call' && transport.callId;
  const call = isCall ? followCall({ url: `${connect.calls}/${transport.callId}`, ticket: apiKey, clock }) : null;
  return {
    call,
    close: () => {
      session.close();
      void call?.hangUp();
    },
  };
}
