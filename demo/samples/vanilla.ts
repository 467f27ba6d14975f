// The sample without a framework.
import { createTokenManager } from '@realtime-token-broker/client';
import { createRealtimeConnection } from '@realtime-token-broker/client/webrtc';

const tokens = createTokenManager({ baseUrl: 'https://broker.example.com' });
const call = createRealtimeConnection({ tokens });

call.on('event', (event) => console.log(event.type));
tokens.on('tokenError', ({ error }) => console.warn(error.code, error.hint));

// From a click, so that the page may ask for the microphone and play sound.
document.querySelector('button')?.addEventListener('click', () => call.connect());
