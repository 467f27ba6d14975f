// The sample for React.
import { createTokenManager } from '@realtime-token-broker/client';
import { useRealtimeConnection } from '@realtime-token-broker/client/react';
import { openCall } from '@realtime-token-broker/client/webrtc';

const tokens = createTokenManager({ baseUrl: 'https://broker.example.com' });

export function VoiceAgent() {
  const { status, error, connect, disconnect } = useRealtimeConnection({
    tokens,
    connect: (context) => openCall(context, {}, (event) => console.log(event.type)),
  });
  return (
    <button onClick={status === 'connected' ? disconnect : connect} title={error?.message}>
      {status}
    </button>
  );
}
