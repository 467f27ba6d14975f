// With @openai/agents-realtime: a fresh key for each connect, and one more when it was refused. At OpenAI, or through the broker.
import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';
import { type TokenManager, withFreshKey } from '@realtime-token-broker/client';

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
