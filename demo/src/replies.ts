// Owns what the local model says: it knows a few things about this broker, and nothing else.

export const GREETING = 'Hello! I am not a model, only a second peer in this page that plays one. Ask me about the secret, the call or the price.';

const KNOWN: [RegExp, string][] = [
  [
    /key|secret|token|ttl|expire|refresh/i,
    'A client secret opens a call until it expires. The ring shows what is left of it, the mark when the next one is fetched. A call that is up does not need it any more.',
  ],
  [/call|audio|hear|microphone|voice|rtc/i, 'Your sound really travels: it is encoded, sent to another peer, and measured there. That is how I notice that you speak.'],
  [/price|cost|pay|free|bill/i, 'I cost nothing. A real model bills by the minute of sound, which is why the broker counts who may start a call, and how often.'],
  [/chaos|break|offline|429|500|401|sleep|clock/i, 'Go on, press a button of the chaos bar. The secret may change three times, and you will still hear me.'],
  [/hello|hi\b|hola|hey/i, 'Hello to you. Shall I tell you about the secret, the call or the price?'],
];

const HEARD = ['I heard you, though I understand only what is typed.', 'That was you. I measure loudness; meaning is for real models.'];

/** What to say to `words`, or to sound alone. */
export function reply(words: string | null, turn: number): string {
  if (words === null) return HEARD[turn % HEARD.length] ?? GREETING;
  return KNOWN.find(([about]) => about.test(words))?.[1] ?? 'I know about the secret, the call and the price. For everything else, start the broker with an API key of your own.';
}
