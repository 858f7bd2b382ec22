// How the read mark is told to the server, and told again.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { Reading } from '../../static/reading.js';
import { createStore } from '../../static/store.js';
import { BOB, joined, Log, ROOM } from './support.mjs';

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout'] });
  globalThis.addEventListener = () => {};
  globalThis.document = { visibilityState: 'visible', hasFocus: () => true, addEventListener() {} };
});
afterEach(() => mock.timers.reset());

async function pass(ms) {
  mock.timers.tick(ms);
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

/** Somebody at the end of a room with one new message, and the marks that are told. */
async function reader() {
  const log = new Log();
  log.post(BOB, '1', 'new');
  const store = createStore(joined(log).pages(log).does({ type: 'room/opened', room_id: ROOM }).state);
  const told = [];
  const reading = new Reading(store, { request: (_, data) => new Promise((resolve, reject) => told.push({ ...data, resolve, reject })) });
  reading.scrolled(true);
  await pass(500);
  return { log, store, told, reading };
}

const seqs = (told) => told.map(({ seq }) => seq);

test('a mark that was refused is told again when the server says, until it is taken', async () => {
  const { store, told } = await reader();
  assert.deepEqual([seqs(told), store.state.rooms[ROOM].unread], [[2], 0]);
  told[0].reject({ code: 'rate_limited', retryable: true, retry_after_ms: 5_000 });
  await pass(0);
  await pass(4_999);
  assert.deepEqual(seqs(told), [2]);
  await pass(1);
  assert.deepEqual(seqs(told), [2, 2]);
  told[1].reject({ code: 'timeout', retryable: false });
  await pass(0);
  await pass(2_000);
  assert.deepEqual(seqs(told), [2, 2, 2]);
  told[2].resolve({});
  await pass(60_000);
  assert.equal(told.length, 3);
});

test('a mark that moved on, was refused for good or has no connection is not repeated', async () => {
  for (const error of [{ code: 'not_found', retryable: false }, { code: 'disconnected', retryable: true }]) {
    const { told } = await reader();
    told[0].reject(error);
    await pass(0);
    await pass(60_000);
    assert.deepEqual(seqs(told), [2], error.code);
  }
  const { log, store, told, reading } = await reader();
  told[0].reject({ code: 'unavailable', retryable: true });
  await pass(0);
  store.dispatch({ type: 'frame', frame: log.post(BOB, '2', 'newer'), now: 0 });
  reading.consider();
  await pass(500);
  told[1].resolve({});
  await pass(60_000);
  assert.deepEqual(seqs(told), [2, 3]);
});
