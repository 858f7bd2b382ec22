// How the socket comes back: the real one, on a browser that is only its edges, with a hand-wound clock.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { Socket } from '../../static/socket.js';
import { Refusal } from '../../static/wire.js';

let sockets;
let listeners;

class FakeWebSocket {
  static OPEN = 1;
  readyState = 0;

  constructor() {
    sockets.push(this);
  }

  opens() {
    this.readyState = 1;
    this.onopen();
  }

  closes(code, reason = '') {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  close() {}
}

beforeEach(() => {
  [sockets, listeners] = [[], {}];
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: 0 });
  globalThis.WebSocket = FakeWebSocket;
  globalThis.addEventListener = (name, listener) => { listeners[name] = listener; };
  globalThis.document = { visibilityState: 'visible', addEventListener: globalThis.addEventListener };
  Object.defineProperty(globalThis, 'navigator', { value: { onLine: true }, configurable: true });
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

const settle = async () => { for (let i = 0; i < 10; i++) await Promise.resolve(); };

function started(refusal = null) {
  const states = [];
  const socket = new Socket({ url: 'ws://x', onText() {}, onLost() {}, onState: (state) => states.push(state), refusal: async () => refusal });
  socket.start();
  return { socket, states };
}

test('a restart is waited for as long as the server said, whatever happens on the way', () => {
  started();
  sockets[0].opens();
  sockets[0].closes(1012, 'restart;delay_ms=7400');
  mock.timers.tick(7_399);
  listeners.online();
  listeners.visibilitychange();
  assert.equal(sockets.length, 1);
  mock.timers.tick(1);
  assert.equal(sockets.length, 2);
});

test('a server with too much to do is given time, and more each time', () => {
  mock.method(Math, 'random', () => 0.999);
  started();
  for (const [code, ceiling] of [[4003, 4_000], [4002, 8_000], [4003, 16_000]]) {
    const count = sockets.length;
    sockets.at(-1).opens();
    sockets.at(-1).closes(code);
    mock.timers.tick(ceiling * 0.99);
    listeners.online();
    assert.equal(sockets.length, count, `${ceiling}`);
    mock.timers.tick(ceiling * 0.01);
    assert.equal(sockets.length, count + 1, `${ceiling}`);
  }
});

test('a refused handshake waits for what the server says', async () => {
  mock.method(Math, 'random', () => 0);
  started({ code: 'overloaded', retryable: true, retry_after_ms: 5_000 });
  sockets[0].closes(1006);
  await settle();
  mock.timers.tick(4_999);
  listeners.online();
  assert.equal(sockets.length, 1);
  mock.timers.tick(1);
  assert.equal(sockets.length, 2);
});

test('a handshake that is refused for want of a session is the last', async () => {
  const { states } = started(new Refusal({ code: 'token_revoked', status: 401 }));
  sockets[0].closes(1006);
  await settle();
  mock.timers.tick(60_000);
  assert.deepEqual([states.at(-1), sockets.length], [{ state: 'stopped', code: 4501 }, 1]);
});

test('what is wrong with the session decides what the end of it is called', async () => {
  for (const [code, closed] of [['token_expired', 4500], ['token_invalid', 4500], ['token_revoked', 4501], ['banned', 4502]]) {
    const { states } = started(new Refusal({ code, status: code === 'banned' ? 403 : 401 }));
    sockets.at(-1).closes(1006);
    await settle();
    assert.deepEqual(states.at(-1), { state: 'stopped', code: closed }, code);
  }
});

test('whose role changed comes back at once, but not around and around', () => {
  mock.method(Math, 'random', () => 0.999);
  started();
  sockets[0].opens();
  sockets[0].closes(4004);
  mock.timers.tick(0);
  assert.equal(sockets.length, 2);
  sockets[1].opens();
  sockets[1].closes(4004);
  mock.timers.tick(0);
  assert.equal(sockets.length, 2, 'so soon after the last time it waits');
  mock.timers.tick(1_000);
  assert.equal(sockets.length, 3);
  sockets[2].opens();
  mock.timers.tick(5_000);
  sockets[2].closes(4004);
  mock.timers.tick(0);
  assert.equal(sockets.length, 4);
});

test('a line that was merely lost is tried again at once when the network is back', () => {
  mock.method(Math, 'random', () => 0.999);
  started();
  sockets[0].opens();
  sockets[0].closes(1006);
  listeners.online();
  assert.equal(sockets.length, 2);
});
