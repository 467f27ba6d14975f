// Owns the sample with OpenAI's agents SDK.
import { RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';
import { createTokenManager, withFreshKey } from '@realtime-token-broker/client';

const tokens = createTokenManager({ baseUrl: 'https://broker.example.com' });
const agent = new RealtimeAgent({ name: 'Assistant', instructions: 'Answer in one sentence.' });
const session = new RealtimeSession(agent);

await withFreshKey(tokens, () => session.connect({ apiKey: tokens.getApiKey }));
