// The public surface of the testing entry: a clock, a broker and a page without a browser or a server.
export { createFakeBroker, type FakeAnswer, FakeBroker, type FakeBrokerOptions, type FakeRequest } from './fake-broker.js';
export { createFakeClock, FakeClock, settle } from './fake-clock.js';
export { createFakePage, FakePage } from './fake-page.js';
