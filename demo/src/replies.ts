// The answers of the local stand-in for the model.

export const GREETING = 'Hello! I am not a model, only a stand-in within this page. Ask me about the key, the call or the price.';

const KNOWN: [RegExp, string][] = [
  [
    /key|secret|token|ttl|expire|refresh/i,
    'A key opens calls until it expires. The ring shows the time left, the mark shows when the next key is fetched. A running call does not need the key any more.',
  ],
  [/call|audio|hear|microphone|voice|rtc/i, 'Your audio really travels: it is encoded, sent to a second peer in this page, and measured there. That is how I notice that you speak.'],
  [/price|cost|pay|free|bill/i, 'I cost nothing. A real model is billed by use, so the broker limits who may start a call, and how often.'],
  [/chaos|break|offline|429|500|401|sleep|clock/i, 'Press a fault on this page. The key may change three times, and you will still hear me.'],
  [/hello|hi\b|hola|hey/i, 'Hello! Shall I tell you about the key, the call or the price?'],
];

const HEARD = ['I heard you, but I understand typed text only.', 'That was you. I measure loudness only; meaning is for real models.'];

/** Returns the answer to `words`, or to sound alone when `words` is null. */
export function reply(words: string | null, turn: number): string {
  if (words === null) return HEARD[turn % HEARD.length] ?? GREETING;
  return KNOWN.find(([about]) => about.test(words))?.[1] ?? 'I know about the key, the call and the price. For everything else, start the broker with your own API key.';
}
