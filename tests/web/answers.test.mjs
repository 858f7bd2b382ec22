// Answers that are streamed: pieces by their place in bytes, ends, reloads, refusals, and what is said aloud of them.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { Asker } from '../../static/asker.js';
import { Sayings, sentencesEnd } from '../../static/sentences.js';
import { Sender } from '../../static/sender.js';
import { answerOf, putPiece } from '../../static/store/answers.js';
import { rowsOf } from '../../static/store/select.js';
import { createStore } from '../../static/store.js';
import { Wire } from '../../static/wire.js';
import { dollars, reasonOf, refusalOf } from '../../static/view/answer.js';
import { ANN, BOB, joined, Log, NOW, ROOM, seeded } from './support.mjs';

const HELPER = { id: 7, name: 'Helper', role: 'assistant' };
const USAGE = { prompt_tokens: 10, completion_tokens: 2, cost_micros: 0, estimated: false };
const RUN = 5;
const bytes = (text) => Buffer.byteLength(text);
const settle = async () => { for (let i = 0; i < 20; i++) await Promise.resolve(); };

/** Asked by Ann in the room; gives the message of the answer. */
function asked(log, run = RUN, asker_id = ANN.id) {
  const prompt = log.post(BOB, `q${run}`, '@Helper?');
  return log.append('message.posted', { author: HELPER, client_message_id: `a${run}`, body: '…', version: 1, run: { id: run, kind: 'answer', state: 'queued', asker_id, prompt_id: prompt.id } });
}

const delta = (message, offset, text, run = RUN) => ({ type: 'ai.delta', room_id: ROOM, at_seq: message.seq, data: { run_id: run, message_id: message.id, offset, text } });
const begun = (message, run = RUN) => ({ type: 'ai.state', room_id: ROOM, at_seq: message.seq, data: { run_id: run, message_id: message.id, state: 'running' } });
const end = (log, message, { state = 'done', body = 'Done.', reason = null, run = RUN, ...rest } = {}) =>
  log.append('ai.ended', { run_id: run, message_id: message.id, state, body, reason, truncated: false, usage: USAGE, ...rest });

/** The answer as its row shows it. */
function answer(client, message) {
  const row = rowsOf(client.state, ROOM).find((one) => one.message?.id === message.id);
  return row?.answer;
}

function reading(log = new Log()) {
  const client = joined(log).pages(log);
  const message = asked(log);
  for (const event of log.events.slice(-2)) client.hears(event);
  return { log, client, message };
}

// Proves AI-07.
test('pieces are put together by their place in bytes, whatever characters they have', () => {
  const { client, message } = reading();
  assert.deepEqual([answer(client, message).state, answer(client, message).text], ['queued', '']);
  client.hears(begun(message));
  assert.equal(answer(client, message).state, 'running');
  let said = '';
  for (const piece of ['Grüße', ', 世界', ' 👩‍👩‍👧', '!']) {
    client.hears(delta(message, bytes(said), piece));
    said += piece;
  }
  assert.equal(answer(client, message).text, said);
});

test('a piece that is there already changes nothing, not even the identity of the state', () => {
  const { client, message } = reading();
  client.hears(delta(message, 0, 'Grüße ')).hears(delta(message, 8, 'euch'));
  const before = client.state;
  client.hears(delta(message, 0, 'Grüße ')).hears(delta(message, 8, 'euch')).hears(delta(message, 4, 'ß'));
  assert.equal(client.state, before);
  client.hears(delta(message, 8, 'euch allen'));
  assert.equal(answer(client, message).text, 'Grüße euch allen');
});

test('a piece at the beginning with other words begins anew', () => {
  const { client, message } = reading();
  client.hears(delta(message, 0, 'First try')).hears(delta(message, 0, 'Second'));
  assert.equal(answer(client, message).text, 'Second');
  client.hears(delta(message, 6, ' one'));
  assert.equal(answer(client, message).text, 'Second one');
});

test('a piece whose bytes don’t fit is no piece of it', () => {
  const known = { text: 'Grüße', bytes: 7 };
  assert.equal(putPiece(known, { offset: 9, text: 'x' }), null);
  assert.equal(putPiece(known, { offset: 1, text: 'xyz' }), null);
  assert.equal(putPiece(known, { offset: 4, text: 'ße' }), known);
  assert.deepEqual(putPiece(known, { offset: 4, text: 'ße!' }), { text: 'Grüße!', bytes: 8 });
});

// Proves AI-08.
test('over a hole the room is asked for anew, once, and its snapshot has it all', () => {
  const { client, log, message } = reading();
  client.hears(delta(message, 0, 'One ')).hears(delta(message, 8, 'three '));
  assert.equal(client.room.link, 'torn');
  assert.equal(answer(client, message).text, 'One ');
  const healed = (text) => {
    const entry = structuredClone(log.subscribe({ after: client.room.timeline.seq, epoch: client.state.epoch }));
    entry.room.streams = [{ run_id: RUN, message_id: message.id, state: 'running', text }];
    client.does({ type: 'rooms/asked', room_ids: [ROOM] }).does({ type: 'rooms/subscribed', entries: [entry] });
  };
  healed('One two three ');
  assert.equal(client.room.link, 'live');
  client.hears(delta(message, 14, 'four'));
  assert.equal(answer(client, message).text, 'One two three four');
  // A second hole of the same answer is left to its end: nothing asks round and round.
  client.hears(delta(message, 99, 'x'));
  assert.equal(client.room.link, 'live');
  assert.equal(answer(client, message).text, 'One two three four');
});

test('the end gives the message its text, and nothing follows it', () => {
  const { client, log, message } = reading();
  client.hears(delta(message, 0, 'Half of'));
  client.hears(end(log, message, { body: 'Half of it is enough.', truncated: true }));
  const { state, text, truncated, usage } = answer(client, message);
  assert.deepEqual([state, text, truncated, usage], ['done', 'Half of it is enough.', true, USAGE]);
  const before = client.state;
  client.hears(delta(message, 7, ' more')).hears(begun(message));
  assert.equal(client.state, before);
  assert.deepEqual(client.room.streams, {});
});

test('an answer that ended without a text shows how it ended instead of dots', () => {
  for (const state of ['cancelled', 'interrupted', 'failed']) {
    const { client, log, message } = reading();
    client.hears(end(log, message, { state, body: '…', reason: 'connect' }));
    assert.deepEqual([answer(client, message).state, answer(client, message).text], [state, '']);
  }
});

test('a page read before the end or in the middle of the answer comes out the same', () => {
  const log = new Log();
  const client = joined(log);
  const message = asked(log);
  const early = log.page();
  for (const event of log.events.slice(-2)) client.hears(event);
  client.hears(end(log, message, { body: 'All of it' }));
  const { generation } = client.room.timeline;
  client.does({ type: 'history/paged', room_id: ROOM, want: 'newest', of: 'live', generation, page: { ...early, head: client.room.timeline.from } });
  assert.deepEqual([answer(client, message).state, answer(client, message).text], ['done', 'All of it']);
});

test('whoever loads the page in the middle sees what was stored, then what is being said', () => {
  const log = new Log();
  const message = asked(log);
  const client = joined(log);
  const page = log.page();
  Object.assign(page.messages.at(-1).run, { state: 'running', text: 'Stored' });
  client.does({ type: 'history/paged', room_id: ROOM, want: 'newest', of: 'live', generation: client.room.timeline.generation, page });
  assert.deepEqual([answer(client, message).state, answer(client, message).text], ['running', 'Stored']);
  const entry = structuredClone(log.subscribe({ after: client.room.timeline.seq, epoch: client.state.epoch }));
  entry.room.streams = [{ run_id: RUN, message_id: message.id, state: 'running', text: 'Stored and told' }];
  client.does({ type: 'rooms/subscribed', entries: [entry] }).hears(delta(message, 15, '.'));
  assert.equal(answer(client, message).text, 'Stored and told.');
});

/** One life of an answer over a bad line: pieces lost, doubled and cut elsewhere, connections lost, in any characters. */
function life(seed) {
  const { below, chance } = seeded(seed);
  const { client, log, message } = reading();
  const alphabet = ['a', ' ', 'ü', '世', '👩‍👧', '.', '\n'];
  let said = '';
  let told = [];
  const snapshot = () => {
    const entry = structuredClone(log.subscribe({ after: client.room.timeline.seq, epoch: client.state.epoch }));
    entry.room.streams = [{ run_id: RUN, message_id: message.id, state: 'running', text: said }];
    client.does({ type: 'rooms/asked', room_ids: [ROOM] }).does({ type: 'rooms/subscribed', entries: [entry] });
    told = [];
  };
  for (let i = 0; i < 60; i++) {
    const piece = Array.from({ length: 1 + below(5) }, () => alphabet[below(alphabet.length)]).join('');
    const frame = delta(message, bytes(said), piece);
    said += piece;
    if (chance(0.05)) {
      // The line breaks: what was on it is gone, and the room is subscribed to anew.
      client.does({ type: 'connection/changed', connection: { state: 'waiting' } }).hears(log.welcome());
      snapshot();
      continue;
    }
    told.push(frame);
    client.hears(frame);
    if (chance(0.2)) client.hears(told[below(told.length)]);
    assert.equal(answer(client, message).text, said, `SEED=${seed}`);
  }
  client.hears(end(log, message, { body: said }));
  return answer(client, message).text === said && client.room.link === 'live';
}

test('over a bad line the text is that of the server after every piece', () => {
  for (let seed = 0; seed < 60; seed++) assert.ok(life(seed), `SEED=${seed}`);
});

test('only the last answer to a question can be asked for again, and only some may stop one', () => {
  const { client, log, message } = reading();
  client.hears(end(log, message));
  const prompt_id = message.data.run.prompt_id;
  const second = log.append('message.posted', { author: HELPER, client_message_id: 'b', body: '…', version: 1, run: { id: 6, kind: 'answer', state: 'queued', asker_id: BOB.id, prompt_id } });
  client.hears(second);
  assert.deepEqual([answer(client, message).mayAsk, answer(client, second).mayAsk], [false, true]);
  assert.equal(answer(client, second).mayStop, true, 'an administrator may');
  client.state = { ...client.state, me: BOB };
  assert.deepEqual([answer(client, message).mayStop, answer(client, second).mayStop], [false, true], 'else who asked');
});

test('messages of people are no answers', () => {
  const { client, log } = reading();
  assert.equal(answerOf(client.room, log.messages()[0]), null);
});

// Proves AI-12.
test('every reason that the server gives has a sentence of its own, and every refusal says why', () => {
  const source = (path) => readFileSync(new URL(`../../src/${path}`, import.meta.url), 'utf8');
  const names = (text, pattern) => [...text.matchAll(pattern)].map(([, name]) => name);
  const [, ours] = /pub mod reason \{([^]*?)\n\}/.exec(source('domain/run.rs'));
  const [, engines] = /fn as_str\(&self\)[^]*?match self \{([^]*?)\n        \}/.exec(source('inference/failure.rs'));
  const reasons = [...names(ours, /EndReason = "([a-z_]+)"/g), ...names(engines, /=> "([a-z_]+)"/g)];
  assert.ok(reasons.length > 20, reasons.join());
  const sentences = reasons.map((reason) => reasonOf({ reason }));
  for (const [at, sentence] of sentences.entries()) assert.doesNotMatch(sentence, /The reason given|No reason/, reasons[at]);
  assert.equal(new Set(sentences).size, reasons.length, 'told apart');
  const codes = ['ai_busy', 'ai_queue_full', 'ai_unavailable', 'budget_exceeded', 'settings_conflict'];
  const refusals = codes.map((code) => refusalOf({ code, message: '' }, 'Helper'));
  assert.equal(new Set(refusals).size, codes.length, refusals.join());
  assert.equal(refusalOf({ code: 'some_other', message: 'Because.' }, 'Helper'), 'Helper was not asked. Because.');
});

test('every way to end has its sentence', () => {
  for (const reason of ['cancelled', 'lease_lost', 'connect', 'idle_timeout', 'content_filter', 'something_new', null]) assert.match(reasonOf({ reason }), /^[A-Z].*\.$/);
  for (const code of ['ai_busy', 'ai_queue_full', 'ai_unavailable', 'budget_exceeded']) assert.match(refusalOf({ code, message: '' }, 'Helper'), /Helper/);
  assert.deepEqual([0, 1_500_000, 1_200, 3].map(dollars), ['$0.00', '$1.50', '$0.0012', '$0.000003']);
});

test('sentences end with their mark, their line, or when they are too long', () => {
  const cut = (text) => text.slice(0, sentencesEnd(text, 0));
  assert.equal(cut('One. Two is not'), 'One.');
  assert.equal(cut('It is 3.5 long'), '');
  assert.equal(cut('First line\nsecond'), 'First line\n');
  assert.equal(cut('“Really?” she'), '“Really?”');
  assert.equal(cut('世界。次'), '世界。');
  assert.ok(sentencesEnd('word '.repeat(200), 0) > 300);
});

test('what is said aloud is whole sentences, each once, and how it ends', () => {
  const sayings = new Sayings();
  const told = (state, text, why = 'It fell silent.') => sayings.next([{ id: 1, name: 'Helper', state, text, why }]);
  assert.deepEqual(told('queued', ''), []);
  assert.deepEqual(told('running', ''), ['Helper is answering.']);
  assert.deepEqual(told('running', 'Well'), []);
  assert.deepEqual(told('running', 'Well then. Not'), ['Helper: Well then.']);
  assert.deepEqual(told('running', 'Well then. Not yet. An'), ['Not yet.']);
  assert.deepEqual(told('failed', 'Well then. Not yet. An'), ['An', 'Helper failed: It fell silent.']);
  assert.deepEqual(told('failed', 'Well then. Not yet. An'), []);
  // All of it at once, between two looks.
  assert.deepEqual(sayings.next([{ id: 3, name: 'Helper', state: 'done', text: 'Quick. Done', why: '', fresh: true }]), ['Helper: Quick. Done', 'Helper has answered.']);
  const joined = new Sayings();
  assert.deepEqual(joined.next([{ id: 4, name: 'Helper', state: 'running', text: 'Before. Now', why: '' }]), ['Helper is answering.']);
  assert.deepEqual(joined.next([{ id: 4, name: 'Helper', state: 'running', text: 'Before. Now then. ', why: '' }]), ['Now then.']);
  const late = new Sayings();
  assert.deepEqual(late.next([{ id: 2, name: 'Helper', state: 'done', text: 'Long ago.', why: '' }]), []);
});

test('all of a text is said, however it is cut', () => {
  for (let seed = 0; seed < 40; seed++) {
    const { below } = seeded(seed);
    const sayings = new Sayings();
    const words = ['one', 'two.', 'three!', '3.5', 'four\n', 'five?'];
    let text = '';
    const heard = [];
    sayings.next([{ id: 1, name: 'H', state: 'running', text, why: '' }]);
    for (let i = 0; i < 40; i++) {
      text += `${words[below(words.length)]} `;
      heard.push(...sayings.next([{ id: 1, name: 'H', state: 'running', text, why: '' }]));
    }
    heard.push(...sayings.next([{ id: 1, name: 'H', state: 'done', text, why: '' }]));
    const all = heard.slice(0, -1).join(' ').replace(/^H: /, '');
    assert.equal(all.split(/\s+/).join(' '), text.trim().split(/\s+/).join(' '), `SEED=${seed}`);
  }
});

beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'Date'], now: NOW }));
afterEach(() => mock.timers.reset());

function desk({ settle: version = async () => 4 } = {}) {
  const sent = [];
  const store = createStore();
  const wire = new Wire({ send: (text) => sent.push(JSON.parse(text)) > 0, onFrame: (frame) => store.dispatch({ type: 'frame', frame, now: Date.now() }) });
  const sender = new Sender(store, wire, { settle: version });
  const asker = new Asker(store, wire, { settle: version });
  wire.receive(JSON.stringify(new Log().welcome(ANN)));
  store.dispatch({ type: 'user/learned', user: HELPER });
  const reply = async (frame, how) => {
    wire.receive(JSON.stringify({ request_id: frame.request_id, ...how }));
    await settle();
  };
  return { store, sent, sender, asker, reply };
}

const asks = (store) => store.state.rooms[ROOM].asks;

test('a question that was refused is asked again when its time has come', async () => {
  const { store, sent, sender, asker, reply } = desk();
  sender.post(ROOM, '@Helper, one more');
  await settle();
  assert.equal(sent[0].data.settings_version, 4);
  const error = { code: 'ai_queue_full', message: 'full', retryable: true, retry_after_ms: 3_000 };
  await reply(sent[0], { type: 'reply', data: { id: 50, seq: 2, at: new Date(NOW).toISOString(), runs: [{ assistant_id: 7, error }] } });
  const [ask] = asks(store)[50];
  assert.deepEqual([ask.state, ask.error.code], ['refused', 'ai_queue_full']);
  const again = asker.ask({ ...ask, room_id: ROOM, at: 50 });
  await settle();
  assert.equal(asks(store)[50][0].state, 'waiting');
  mock.timers.tick(2_900);
  await settle();
  assert.equal(sent.length, 1);
  // Pressed twice, asked once.
  asker.ask({ ...ask, room_id: ROOM, at: 50 });
  mock.timers.tick(200);
  await settle();
  assert.deepEqual(sent.slice(1).map(({ type, data }) => [type, data]), [['ai.ask', { room_id: ROOM, message_id: 50, assistant_id: 7, settings_version: 4 }]]);
  await reply(sent[1], { type: 'reply', data: { run_id: 9, message_id: 51 } });
  assert.deepEqual(await again, { run_id: 9, message_id: 51 });
  assert.deepEqual(asks(store), {});
});

test('refused once more it says why now', async () => {
  const { store, sent, asker, reply } = desk();
  asker.ask({ room_id: ROOM, at: 60, message_id: 50, assistant_id: 7, regenerates: 5 });
  await settle();
  assert.equal(sent[0].data.regenerates, 5);
  await reply(sent[0], { type: 'error', error: { code: 'budget_exceeded', message: 'no', retryable: false } });
  const [ask] = asks(store)[60];
  assert.deepEqual([ask.state, ask.error.code, ask.regenerates, ask.message_id], ['refused', 'budget_exceeded', 5, 50]);
});

test('a stop that fails can be pressed again', async () => {
  const { store, sent, asker, reply } = desk();
  asker.end(ROOM, 5);
  assert.equal(store.state.rooms[ROOM].stopping[5], true);
  await reply(sent[0], { type: 'error', error: { code: 'forbidden', message: 'not yours', retryable: false } });
  assert.equal(store.state.rooms[ROOM].stopping[5], false);
  assert.match(store.state.notice.text, /not yours/i);
});

test('a message to people waits for no settings', async () => {
  const { sent, sender } = desk({ settle: () => { throw new Error('asked'); } });
  sender.post(ROOM, 'Hello @Helperine and all');
  await settle();
  assert.deepEqual(Object.keys(sent[0].data), ['room_id', 'client_message_id', 'body']);
});
