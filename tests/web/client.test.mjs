// The client as a whole and its REST calls, on a browser that is only its edges.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { api } from '../../static/api.js';
import { Client } from '../../static/client.js';
import { ANN } from './support.mjs';

const DRAFTS = 'hearth.drafts';
let stored;

beforeEach(() => {
  stored = new Map();
  globalThis.sessionStorage = { getItem: (key) => stored.get(key) ?? null, setItem: (key, text) => stored.set(key, text), removeItem: (key) => stored.delete(key) };
  globalThis.location = new URL('http://localhost/');
  globalThis.document = Object.assign(new EventTarget(), { visibilityState: 'visible', hasFocus: () => true });
  Object.defineProperty(globalThis, 'navigator', { value: { onLine: true }, configurable: true });
  globalThis.IDBKeyRange = { bound: () => null };
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
});

const answers = (status, body) => async () => new Response(body === undefined ? null : JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } });

function signedIn() {
  const client = new Client(ANN, { onSessionEnded() {} });
  client.store.dispatch({ type: 'draft/typed', room_id: 1, text: 'a secret' });
  assert.match(stored.get(DRAFTS), /a secret/);
  return client;
}

test('signing out forgets what was written, also where it had happened before the answer', async () => {
  const lost = () => Promise.reject(new TypeError('network'));
  const ways = {
    'as it should be': () => answers(204),
    'the session is gone': () => answers(401, { code: 'unauthenticated' }),
    'it was revoked': () => answers(401, { code: 'token_revoked' }),
    'the socket was told, the answer is lost': (client) => () => { client.stop(); return lost(); },
  };
  for (const [name, way] of Object.entries(ways)) {
    const client = signedIn();
    globalThis.fetch = way(client);
    await client.signOut();
    assert.deepEqual([stored.has(DRAFTS), client.stopped], [false, true], name);
  }
  const client = signedIn();
  globalThis.fetch = lost;
  await assert.rejects(client.signOut(), { code: 'disconnected' });
  assert.deepEqual([stored.has(DRAFTS), client.stopped], [true, undefined], 'still signed in');
  client.stop();
});

test('what was made without a readable answer is made once', async () => {
  const keys = [];
  globalThis.fetch = async (_, { headers }) => {
    keys.push(headers['idempotency-key']);
    if (keys.length > 1) return answers(201, { id: 7 })();
    return Object.assign(await answers(201, {})(), { text: () => Promise.reject(new TypeError('network')) });
  };
  await assert.rejects(api.make('/rooms', { name: 'Den' }), { code: 'disconnected', retryable: true });
  assert.deepEqual(await api.make('/rooms', { name: 'Den' }), { id: 7 });
  assert.equal(keys[0], keys[1]);
});

test('a request on a dead line ends', async () => {
  const { timeout } = AbortSignal;
  AbortSignal.timeout = () => AbortSignal.abort(new DOMException('late', 'TimeoutError'));
  try {
    globalThis.fetch = async (_, { signal }) => { signal?.throwIfAborted(); return answers(200, {})(); };
    await assert.rejects(api.get('/me'), { code: 'disconnected', retryable: true });
  } finally {
    AbortSignal.timeout = timeout;
  }
});

test('a list is followed to its end, with what it was asked by', async () => {
  const asked = [];
  globalThis.fetch = async (url) => {
    asked.push(url);
    return answers(200, { users: [{ id: asked.length }], next: asked.length < 2 ? 'a+b' : null })();
  };
  assert.deepEqual((await api.all('/users?status=all', 'users')).map(({ id }) => id), [1, 2]);
  assert.deepEqual(asked, ['/api/v1/users?status=all&limit=100', '/api/v1/users?status=all&limit=100&cursor=a%2Bb']);
});

test('what expires does so by the clock of the server', async () => {
  globalThis.fetch = async () => new Response(null, { status: 204, headers: { date: new Date(Date.now() + 3_600_000).toUTCString() } });
  await api.get('/me');
  assert.ok(Math.abs(api.now() - Date.now() - 3_600_000) < 2_000);
});
