// The settings for assistants: one sync after a second of quiet with the last value, acknowledged before an assistant is asked.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { Preferences, QUIET_MS } from '../../static/preferences.js';
import { Sender } from '../../static/sender.js';
import { isPending } from '../../static/store/preferences.js';
import { createStore } from '../../static/store.js';
import { Refusal, Wire } from '../../static/wire.js';
import { ANN, INBOX, Log, NOW, ROOM } from './support.mjs';

beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'Date'], now: NOW }));
afterEach(() => mock.timers.reset());

const settle = async () => { for (let i = 0; i < 30; i++) await Promise.resolve(); };
const pass = async (ms) => {
  mock.timers.tick(ms);
  await settle();
};

async function desk({ stored = { version: 3, settings: { language: 'en' } } } = {}) {
  const sent = [];
  const store = createStore();
  const wire = new Wire({ send: (text) => sent.push(JSON.parse(text)) > 0, onFrame: (frame) => store.dispatch({ type: 'frame', frame, now: Date.now() }) });
  const server = { stored, reads: 0 };
  const api = { get: async () => { server.reads += 1; if (!server.stored) throw new Refusal({ code: 'not_found' }); return structuredClone(server.stored); } };
  const preferences = new Preferences(store, wire, api);
  const sender = new Sender(store, wire, { settle: () => preferences.settle() });
  wire.receive(JSON.stringify(new Log().welcome(ANN)));
  store.dispatch({ type: 'user/learned', user: { id: 7, name: 'Helper', role: 'assistant' } });
  const answer = async (frame, how) => {
    wire.receive(JSON.stringify({ request_id: frame.request_id, ...how }));
    await settle();
  };
  const accept = (frame, version) => answer(frame, { type: 'reply', data: { version } });
  const refuse = (frame, error) => answer(frame, { type: 'error', error: { message: 'no', retryable: false, ...error } });
  await preferences.learn();
  return { store, sent, preferences, sender, server, accept, refuse, wire };
}

// Proves CORR-14.
test('rapid changes are one sync after a second of quiet, and the last value wins', async () => {
  const { store, sent, preferences, accept } = await desk();
  assert.equal(QUIET_MS, 1_000);
  for (const language of ['f', 'fr', 'fre', 'french']) {
    preferences.write({ language });
    await pass(QUIET_MS - 100);
  }
  assert.deepEqual(sent, []);
  assert.ok(isPending(store.state));
  await pass(100);
  assert.deepEqual(sent.map(({ type, data }) => [type, data]), [['settings.sync', { version: 3, settings: { language: 'french' } }]]);
  await accept(sent[0], 4);
  assert.ok(!isPending(store.state));
  assert.deepEqual(store.state.preferences.settings, { language: 'french' });
  await pass(10_000);
  assert.equal(sent.length, 1);
});

test('what is written while a sync is under way goes with the next, on its version', async () => {
  const { store, sent, preferences, accept } = await desk();
  preferences.write({ language: 'de' });
  await pass(QUIET_MS);
  preferences.write({ language: 'fr' });
  await accept(sent[0], 4);
  assert.ok(isPending(store.state));
  await pass(QUIET_MS);
  assert.deepEqual(sent[1].data, { version: 4, settings: { language: 'fr' } });
  await accept(sent[1], 5);
  assert.ok(!isPending(store.state));
});

test('a sync that takes longer than the quiet is the only one, and what was written meanwhile is no less synced', async () => {
  const { store, sent, preferences, accept } = await desk();
  preferences.write({ language: 'de' });
  await pass(QUIET_MS);
  preferences.write({ language: 'fr' });
  await pass(QUIET_MS * 3);
  assert.equal(sent.length, 1);
  await accept(sent[0], 4);
  await pass(QUIET_MS);
  assert.deepEqual(sent[1].data, { version: 4, settings: { language: 'fr' } });
  await accept(sent[1], 5);
  assert.ok(!isPending(store.state));
});

test('what was written is told at once when the page goes, and after the next welcome when the socket was down', async () => {
  const { sent, preferences, refuse, accept } = await desk();
  preferences.write({ language: 'de' });
  preferences.flush();
  await settle();
  assert.deepEqual(sent.map(({ data }) => data.settings), [{ language: 'de' }]);
  await refuse(sent[0], { code: 'disconnected', retryable: true });
  await pass(QUIET_MS * 5);
  assert.equal(sent.length, 1, 'without a socket nothing is tried');
  preferences.connected();
  await pass(QUIET_MS);
  assert.deepEqual(sent[1].data, { version: 3, settings: { language: 'de' } });
  await accept(sent[1], 4);
});

test('written back to what the server has there is nothing to sync', async () => {
  const { store, sent, preferences } = await desk();
  preferences.write({ language: 'de' });
  preferences.write({ language: 'en' });
  assert.ok(!isPending(store.state));
  await pass(QUIET_MS * 2);
  assert.deepEqual(sent, []);
});

// Proves CORR-13.
test('before an assistant is asked the settings are acknowledged, and the question names their version', async () => {
  const { sent, preferences, sender, accept } = await desk();
  preferences.write({ language: 'fr' });
  sender.post(ROOM, '@Helper, hello');
  await settle();
  assert.deepEqual(sent.map(({ type }) => type), ['settings.sync']);
  await accept(sent[0], 4);
  assert.deepEqual([sent[1].type, sent[1].data.settings_version], ['message.post', 4]);
  await pass(QUIET_MS * 2);
  assert.equal(sent.length, 2);
});

test('changed on another device the settings are those, and the page says so', async () => {
  const { store, sent, preferences, server, refuse } = await desk();
  preferences.write({ language: 'fr' });
  await pass(QUIET_MS);
  server.stored = { version: 9, settings: { language: 'it' } };
  await refuse(sent[0], { code: 'version_conflict', version: 9 });
  const { version, settings, draft, trouble } = store.state.preferences;
  assert.deepEqual([version, settings, draft], [9, { language: 'it' }, null]);
  assert.match(trouble, /another device/);
  preferences.write({ language: 'es' });
  await pass(QUIET_MS);
  assert.deepEqual(sent[1].data, { version: 9, settings: { language: 'es' } });
});

test('with the server too busy the question waits for the settings', async () => {
  const { store, sent, preferences, sender, refuse, accept } = await desk();
  preferences.write({ language: 'fr' });
  sender.post(ROOM, '@Helper, hello');
  await settle();
  for (let i = 0; i < 3; i++) await refuse(sent[i], { code: 'overloaded', retryable: true, retry_after_ms: 50 });
  assert.deepEqual(sent.map(({ type }) => type), Array(3).fill('settings.sync'));
  assert.equal(store.state.outbox[0].waits, 'overloaded');
  await pass(5_000);
  await accept(sent[3], 4);
  await pass(5_000);
  assert.deepEqual([sent.at(-1).type, sent.at(-1).data.settings_version], ['message.post', 4]);
});

test('changed too often the settings wait as long as the server says, and the last value gets there', async () => {
  const { store, sent, preferences, refuse, accept } = await desk();
  preferences.write({ language: 'fr' });
  await pass(QUIET_MS);
  await refuse(sent[0], { code: 'rate_limited', retryable: true, retry_after_ms: 4_000 });
  assert.ok(isPending(store.state));
  await pass(3_999);
  assert.equal(sent.length, 1);
  await pass(1);
  assert.deepEqual(sent[1].data, { version: 3, settings: { language: 'fr' } });
  await accept(sent[1], 4);
  assert.deepEqual([store.state.preferences.draft, store.state.preferences.settings], [null, { language: 'fr' }]);
});

test('settings that are refused for good keep no question back', async () => {
  const { sent, preferences, sender, refuse } = await desk();
  preferences.write({ instructions: 'x'.repeat(9_000) });
  sender.post(ROOM, '@Helper, hello');
  await settle();
  for (let i = 0; i < 3; i++) await refuse(sent[i], { code: 'too_large' });
  assert.deepEqual([sent[3].type, sent[3].data.settings_version], ['message.post', 3]);
});

const synced = (wire, seq, version, language) =>
  wire.receive(JSON.stringify({ type: 'settings.synced', id: seq, seq, room_id: INBOX, at: new Date(NOW).toISOString(), data: { version, settings: { language } } }));

test('what another device synced is taken over, and what was written on top of what it replaced is given up aloud', async () => {
  const { store, sent, preferences, wire } = await desk();
  synced(wire, 1, 4, 'sv');
  assert.deepEqual(store.state.preferences.settings, { language: 'sv' });
  preferences.write({ language: 'fr' });
  synced(wire, 2, 5, 'no');
  const { version, settings, draft, trouble } = store.state.preferences;
  assert.deepEqual([version, settings, draft], [5, { language: 'no' }, null]);
  assert.match(trouble, /another device/);
  await pass(QUIET_MS * 2);
  assert.deepEqual(sent, []);
});

test('the event of one’s own sync that comes before its reply, or late, takes nothing away', async () => {
  const { store, sent, preferences, accept, wire } = await desk();
  preferences.write({ language: 'de' });
  await pass(QUIET_MS);
  preferences.write({ language: 'fr' });
  synced(wire, 1, 4, 'de');
  assert.deepEqual(store.state.preferences.draft, { language: 'fr' });
  await accept(sent[0], 4);
  await pass(QUIET_MS);
  assert.deepEqual(sent[1].data, { version: 4, settings: { language: 'fr' } });
  await accept(sent[1], 5);
  synced(wire, 2, 5, 'fr');
  assert.deepEqual([store.state.preferences.version, store.state.preferences.draft, store.state.preferences.trouble], [5, null, null]);
});

test('the same settings in another order are the same', async () => {
  const { store, preferences, wire } = await desk();
  preferences.write({ ai: { language: 'fr', instructions: 'short' }, theme: 'dark' });
  await pass(QUIET_MS);
  wire.receive(JSON.stringify({ type: 'settings.synced', id: 1, seq: 1, room_id: INBOX, at: new Date(NOW).toISOString(), data: { version: 4, settings: { theme: 'dark', ai: { instructions: 'short', language: 'fr' } } } }));
  assert.deepEqual([store.state.preferences.version, store.state.preferences.draft, store.state.preferences.trouble], [4, null, null]);
});
