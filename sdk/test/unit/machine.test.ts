// Tests the state machine without a manager: phases, and what holds after every event.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TokenError } from '@realtime-token-broker/client';
// The module is internal, so it is not exported by the package.
import * as machine from '../../src/machine.js';

const { START, phaseOf, transition } = machine;
type State = machine.State;

const flight = { join: () => new Promise<never>(() => {}), cancel: () => {} };
const held = { token: {}, left: () => 1000, leadMs: 0, uses: 1, owner: null, keep: undefined } as unknown as NonNullable<State['held']>;
const error = new TokenError('network');
const waits = (): number => 1000;

/** Returns the state after these events. */
const after = (...changes: ((state: State) => machine.Change)[]): State => changes.reduce((state, change) => transition(state, change(state)), START);

const start = (): machine.Change => machine.started(flight);
const arrive = (): machine.Change => machine.arrived(held, held, () => 0);
const fail = (state: State): machine.Change => machine.gaveUp(state, error, waits);

test('each state has the phase that observers expect', () => {
  const phases: [phase: string, state: State][] = [
    ['idle', START],
    ['requesting', after(start, () => machine.attempted(1))],
    ['backoff', after(start, () => machine.paused(error, 1))],
    ['requesting', after(start, () => machine.paused(error, 1), () => machine.attempted(2))],
    ['idle', after(start, machine.deserted)],
    ['failed', after(start, fail)],
    ['ready', after(start, arrive)],
    ['refreshing', after(start, arrive, start)],
    ['ready', after(start, arrive, start, fail)],
    ['expired', after(start, arrive, machine.expired)],
    ['idle', after(start, arrive, machine.usedUp)],
    ['idle', after(start, arrive, machine.invalidated)],
    ['idle', after(start, arrive, machine.forgotten)],
    ['destroyed', after(start, arrive, (state) => machine.forgotten(state, 'destroyed'))],
  ];
  for (const [phase, state] of phases) assert.equal(phaseOf(state, false), phase);
  assert.equal(phaseOf(after(start, arrive), true), 'paused');
  assert.equal(phaseOf(START, true), 'idle', 'nothing to pause before the first token');
});

test('a token and a pardon end a failure, and only a token that is wanted is followed by another', () => {
  const failed = after(start, fail);
  assert.deepEqual([failed.failed, failed.waits(), failed.wanted], [error, 1000, true]);
  for (const change of [arrive(), machine.forgiven(), machine.invalidated(), machine.changed(failed, () => 0)]) {
    const next = transition(failed, change);
    assert.deepEqual([next.failed, next.waits()], [null, 0]);
  }
  assert.equal(after(start, arrive, machine.expired).wanted, true);
  for (const change of [machine.usedUp, machine.invalidated]) assert.equal(after(start, arrive, change).wanted, false);
  assert.equal(transition(failed, machine.changed(failed, () => 0)).wanted, false);
});

test('a new user inherits nothing but the time since the last mint, and a destroyed manager stays destroyed', () => {
  const used = after(start, () => machine.arrived(held, held, () => 42), start, fail);
  const { user, sinceMint, ...rest } = transition(used, machine.forgotten(used));
  const { user: _, sinceMint: __, ...fresh } = START;
  assert.deepEqual(rest, fresh);
  assert.deepEqual([user, sinceMint()], [1, 42]);
  const ended = transition(used, machine.forgotten(used, 'destroyed'));
  for (const change of [start(), arrive(), fail(ended), machine.invalidated(), machine.forgotten(ended)]) assert.equal(transition(ended, change), ended);
});
