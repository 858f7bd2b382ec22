// Edits and deletions on their way, and when what was refused is tried again.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Changer } from '../../static/changer.js';
import { concernsAll, nextTry, waitingText, worded } from '../../static/patience.js';
import { makeChange, shownBody, unsaved } from '../../static/store/changing.js';
import { rowsOf } from '../../static/store/select.js';
import { OUTBOX_MAX_AGE_MS } from '../../static/store/sending.js';
import { ANN, BOB, Client, joined, Log, NOW, ROOM, seeded } from './support.mjs';

function said(body = 'original') {
  const log = new Log();
  const event = log.post(ANN, 'a', body);
  const client = joined(log).pages(log);
  const wants = (kind, key, text) => client.does({ type: 'change/queued', change: { kind, key, room_id: ROOM, message_id: event.id, version: 1, body: text, at: NOW } });
  const starts = (key) => client.does({ type: 'change/started', key });
  const refuse = (key, error, more = {}) => client.does({ type: 'change/refused', key, error: { message: '', retryable: false, ...error }, ...more });
  return { log, event, client, wants, starts, refuse };
}

const shown = (client) => rowsOf(client.state, ROOM).filter(({ kind }) => kind === 'message').map(({ message, change }) => shownBody(message, change));

test('an edit shows at once, and its ack and its event leave one version, in either order', () => {
  for (const ackFirst of [true, false]) {
    const { log, event, client, wants, starts } = said();
    wants('edit', 'k', 'better');
    assert.deepEqual(shown(client), ['better']);
    assert.deepEqual(client.bodies, ['original'], 'what the server has is not touched');
    starts('k');
    const edited = log.edit(event.id, 'better');
    const ack = { type: 'change/acked', key: 'k', kind: 'edit', room_id: ROOM, message_id: event.id, body: 'better', version: 2, at: edited.at };
    if (ackFirst) client.does(ack).hears(edited);
    else client.hears(edited).does(ack);
    assert.deepEqual([shown(client), client.bodies, client.state.changes], [['better'], ['better'], []]);
    assert.deepEqual(client.room.timeline.live.messages, log.messages());
  }
});

test('what is written while an edit may be on the server goes out after it, on top of it', () => {
  const { event, client, wants, starts } = said();
  wants('edit', 'k', 'one');
  wants('edit', 'l', 'two');
  assert.equal(client.state.changes[0].body, 'two', 'never sent: simply replaced');
  starts('k');
  wants('edit', 'm', 'three');
  assert.deepEqual(shown(client), ['three']);
  client.does({ type: 'change/refused', key: 'k', error: { code: 'disconnected' } });
  assert.deepEqual([client.state.changes[0].body, client.state.changes[0].version], ['two', 1], 'repeated word for word');
  client.does({ type: 'change/acked', key: 'k', kind: 'edit', room_id: ROOM, message_id: event.id, body: 'two', version: 2, at: 'x' });
  const [next] = client.state.changes;
  assert.deepEqual([next.body, next.version, next.sent], ['three', 2, false]);
  assert.deepEqual(shown(client), ['three']);
});

test('a deletion hides at once and shows again when it is refused', () => {
  const { event, client, wants, refuse } = said();
  wants('delete', 'k');
  assert.deepEqual(shown(client), []);
  refuse('k', { code: 'forbidden', message: 'You may not.' });
  assert.deepEqual([shown(client), client.state.notice.text], [['original'], 'The message was not deleted: You may not.']);
  wants('edit', 'l', 'changed');
  wants('delete', 'm');
  assert.deepEqual(client.state.changes.map(({ kind, key }) => [kind, key]), [['delete', 'm']]);
  client.does({ type: 'change/acked', key: 'm', kind: 'delete', room_id: ROOM, message_id: event.id });
  assert.deepEqual([shown(client), client.bodies, client.state.changes], [[], [], []]);
});

test('the text of a refused edit comes back into an editor, or into the composer where the message is gone', () => {
  const { event, client, wants, refuse } = said();
  wants('edit', 'k', 'mine');
  refuse('k', { code: 'timeout', message: 'The server did not answer' });
  const { text, state, version, reason } = client.state.edits[event.id];
  assert.deepEqual([text, state, version, reason], ['mine', 'failed', 1, 'The server did not answer']);
  assert.deepEqual(shown(client), ['original']);
  client.does({ type: 'edit/opened', room_id: ROOM, message: client.room.timeline.live.messages[0] });
  assert.equal(client.state.edits[event.id].text, 'mine', 'not written over');
  client.does({ type: 'change/acked', kind: 'edit', room_id: ROOM, message_id: event.id, body: 'mine', version: 2, at: 'x' });
  assert.deepEqual([client.state.edits, shown(client)], [{}, ['mine']], 'the answer came after all');
  wants('edit', 'l', 'again');
  refuse('l', { code: 'not_found', message: 'no such message' });
  assert.deepEqual([shown(client), client.state.drafts[ROOM].text], [[], 'again']);
});

test('changes and given back texts survive a reload, and get too old', () => {
  const { event, client, wants, starts, refuse } = said();
  wants('edit', 'k', 'mine');
  starts('k');
  const saved = structuredClone(unsaved(client.state));
  const fresh = () => joined(new Log());
  const again = fresh().does({ type: 'send/restored', entries: saved });
  const [change] = again.state.changes;
  assert.deepEqual([change.body, change.version, change.state, change.sent], ['mine', 1, 'pending', true]);
  assert.equal(again.state.outbox.length, 0);
  assert.equal(again.does({ type: 'send/restored', entries: saved }).state.changes.length, 1);
  refuse('k', { code: 'version_conflict', version: 4 });
  const kept = fresh().does({ type: 'send/restored', entries: structuredClone(unsaved(client.state)) });
  assert.equal(kept.state.edits[event.id].text, 'mine');
  const old = makeChange({ ...saved[0], at: NOW - OUTBOX_MAX_AGE_MS - 1 });
  const late = fresh().does({ type: 'send/restored', entries: [old] });
  assert.deepEqual([late.state.changes, late.state.edits[event.id].text], [[], 'mine']);
});

test('a new connection sends what was on its way again', () => {
  const { log, client, wants, starts } = said();
  wants('edit', 'k', 'mine');
  starts('k');
  client.hears(log.welcome());
  assert.deepEqual(client.state.changes.map(({ state, sent }) => [state, sent]), [['pending', true]]);
});

test('the server says how long to wait, and is asked as long as the message lives', () => {
  const error = (code, more = {}) => ({ code, retryable: true, ...more });
  const none = () => 0;
  assert.equal(nextTry(error('rate_limited', { retry_after_ms: 3_000 }), 99, NOW, none), NOW + 3_000);
  assert.ok(nextTry(error('rate_limited', { retry_after_ms: 3_000 }), 99, NOW, () => 0.999) < NOW + 3_500);
  assert.equal(nextTry(error('read_only', { retry_after_ms: 1_000 }), 99, NOW, none), NOW + 1_000);
  assert.equal(nextTry(error('unavailable'), 5, NOW, none), NOW + 500);
  assert.equal(nextTry(error('unavailable'), 6, NOW, none), undefined);
  for (const code of ['timeout', 'disconnected']) assert.equal(nextTry(error(code), 0, NOW), undefined);
  assert.equal(nextTry({ code: 'duplicate_message', retryable: false }, 0, NOW), undefined);
  assert.deepEqual(['rate_limited', 'read_only', 'unavailable'].map((code) => concernsAll({ code })), [true, true, false]);
  assert.match(waitingText('rate_limited'), /waits for its turn/);
  assert.match(waitingText('read_only'), /nothing new/);
  assert.match(worded({ code: 'duplicate_message', message: 'x' }).message, /several times/);
  assert.equal(worded({ code: 'forbidden', message: 'x' }).message, 'x');
});

/** The server's answer to a change, as the protocol has it: repeated by the same editor it is answered as the first time. */
function carryOut(log, { kind, message_id, version, body }) {
  const message = log.messages().find(({ id }) => id === message_id);
  if (kind === 'delete') {
    if (message) log.remove(message_id);
    return { ack: {} };
  }
  if (!message) return { error: { code: 'not_found', message: '' } };
  const last = log.events.findLast(({ type, data }) => type === 'message.edited' && data.message_id === message_id);
  if (message.version === version) return { ack: log.edit(message_id, body) };
  if (last && last.data.version === version + 1 && last.data.editor_id === ANN.id && last.data.body === body) return { ack: last };
  return { error: { code: 'version_conflict', message: '', version: message.version }, current: message };
}

/** A client edits and deletes while others do, answers and events are late or lost, connections end and pages are loaded anew. */
function changeful(seed) {
  const { below, chance } = seeded(seed);
  const log = new Log();
  for (let i = 0; i < 4; i++) log.post(i % 2 ? BOB : ANN, `p${i}`, `original ${i}`);
  let client = joined(log).pages(log);
  let [heard, answer, connected, next] = [log.head, null, true, 0];
  const last = new Map();
  const mine = () => client.room.timeline.live.messages.filter(({ id }) => !client.state.changes.some(({ message_id, kind }) => message_id === id && kind === 'delete'));
  const pick = (list) => list[below(list.length)];
  const send = () => {
    const [change] = client.state.changes;
    if (!connected || answer || !change) return;
    client.does({ type: 'change/started', key: change.key });
    answer = { change, ...carryOut(log, change) };
  };
  const deliver = () => {
    if (!answer) return;
    const { change, ack, error, current } = answer;
    answer = null;
    if (error) client.does({ type: 'change/refused', key: change.key, error, current });
    else client.does({ type: 'change/acked', ...change, version: ack.data?.version, at: ack.at });
  };
  const hear = () => heard < log.head && connected && client.hears(log.events[heard++]);
  const drop = () => {
    connected = false;
    if (answer) client.does({ type: 'change/refused', key: answer.change.key, error: { code: 'disconnected', message: '' } });
    answer = null;
    client.does({ type: 'connection/changed', connection: { state: 'waiting' } });
  };
  const reconnect = () => {
    connected = true;
    heard = log.head;
    client.hears(log.welcome()).subscribes(log);
  };
  const steps = [
    () => {
      const message = pick(mine());
      if (!message) return;
      const body = `text ${++next}`;
      client.does({ type: 'edit/opened', room_id: ROOM, message });
      const { version } = client.state.edits[message.id];
      client.does({ type: 'change/queued', change: { kind: 'edit', key: `k${next}`, room_id: ROOM, message_id: message.id, version, body, at: NOW } });
      last.set(message.id, body);
    },
    () => {
      const message = chance(0.2) && pick(mine());
      if (!message) return;
      client.does({ type: 'change/queued', change: { kind: 'delete', key: `k${++next}`, room_id: ROOM, message_id: message.id, at: NOW } });
      last.delete(message.id);
    },
    () => {
      const message = chance(0.4) && pick(log.messages());
      if (message) log.edit(message.id, `theirs ${log.head}`, BOB.id);
    },
    () => {
      const message = chance(0.1) && pick(log.messages());
      if (message) log.remove(message.id);
    },
    send, send, deliver, deliver, hear, hear, hear,
    () => connected && chance(0.2) && drop(),
    () => connected || reconnect(),
    () => {
      if (!chance(0.05)) return;
      const entries = structuredClone(unsaved(client.state));
      const { drafts } = client.state;
      client = joined(log).pages(log).does({ type: 'draft/restored', drafts }).does({ type: 'send/restored', entries });
      [heard, answer, connected] = [log.head, null, true];
    },
  ];
  for (let i = 0; i < 200; i++) steps[below(steps.length)]();
  drop();
  reconnect();
  for (let i = 0; i < 50 && client.state.changes.length; i++) {
    send();
    deliver();
  }
  while (heard < log.head) hear();
  return { client, log, last };
}

test('whatever is late or lost, the page ends as the server has it, and no text is lost', () => {
  const only = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: 400 }, (_, seed) => seed);
  for (const seed of only) {
    const { client, log, last } = changeful(seed);
    assert.deepEqual(client.state.changes, [], `SEED=${seed}`);
    assert.deepEqual(client.room.timeline.live.messages, log.messages(), `SEED=${seed}`);
    assert.deepEqual(shown(client), log.messages().map(({ body }) => body), `SEED=${seed}`);
    const edits = log.events.filter(({ type, data }) => type === 'message.edited' && data.editor_id === ANN.id).map(({ data }) => data.body);
    assert.equal(new Set(edits).size, edits.length, `an edit happened twice, SEED=${seed}`);
    const draft = client.state.drafts[ROOM]?.text ?? '';
    for (const [id, text] of last) {
      const kept = edits.includes(text) || client.state.edits[id]?.text === text || draft.split('\n').includes(text);
      assert.ok(kept, `${text} is lost, SEED=${seed}`);
    }
  }
});

test('what can not leave a closing socket waits for the next connection, without spinning', async () => {
  const { client, wants } = said();
  wants('edit', 'k', 'better');
  let sends = 0;
  const store = { get state() { return client.state; }, dispatch: (action) => { client.does(action); changer?.pump(); } };
  const wire = { request: () => { sends += 1; return sends > 50 ? new Promise(() => {}) : Promise.reject({ code: 'disconnected', message: '' }); } };
  client.does({ type: 'connection/changed', connection: { state: 'connected' } });
  const changer = new Changer(store, wire);
  changer.pump();
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(sends, 1);
  assert.equal(client.state.changes[0].state, 'sending');
});

test('what is typed into an editor is kept, and an editor opened before the answer is of the new version', () => {
  const { log, event, client, wants, starts } = said();
  wants('edit', 'k', 'better');
  starts('k');
  client.does({ type: 'edit/opened', room_id: ROOM, message: client.room.timeline.live.messages[0] });
  client.does({ type: 'edit/typed', message_id: event.id, text: 'better still' });
  const edited = log.edit(event.id, 'better');
  client.does({ type: 'change/acked', key: 'k', kind: 'edit', room_id: ROOM, message_id: event.id, body: 'better', version: 2, at: edited.at });
  const { text, version } = client.state.edits[event.id];
  assert.deepEqual([text, version], ['better still', 2]);
});

test('of two changes of one message from two tabs neither text is lost', () => {
  const entry = (more) => makeChange({ kind: 'edit', key: 'other', room_id: ROOM, version: 1, body: 'theirs', at: NOW - 1, ...more });
  const draft = (client) => client.state.drafts[ROOM]?.text ?? '';
  const restore = (client, ...entries) => client.does({ type: 'send/restored', entries });
  const { event, client, wants } = said();
  const of = (more) => entry({ message_id: event.id, ...more });
  wants('edit', 'k', 'mine');
  restore(client, client.state.changes[0], of({ body: 'mine' }));
  assert.deepEqual([shown(client), draft(client)], [['mine'], ''], 'the same is nothing new');
  restore(client, of({}));
  assert.deepEqual([shown(client), draft(client)], [['mine'], 'theirs']);
  restore(client, of({ body: 'older', next: 'newer' }), { kind: 'editor', room_id: ROOM, message_id: event.id, text: 'kept', state: 'conflict' });
  assert.equal(draft(client), 'theirs\nnewer\nkept');
  restore(client, of({ kind: 'delete', body: null }));
  assert.deepEqual(shown(client), ['mine'], 'changed after it was deleted elsewhere');
  restore(client, of({ kind: 'delete', body: null, at: NOW + 1 }));
  assert.deepEqual([shown(client), client.state.changes.length], [[], 1]);
  const writing = said().client;
  const [message] = writing.room.timeline.live.messages;
  writing.does({ type: 'edit/opened', room_id: ROOM, message }).does({ type: 'edit/typed', message_id: message.id, text: 'half' });
  restore(writing, entry({ message_id: message.id }), entry({ kind: 'delete', message_id: message.id, at: NOW + 1 }));
  assert.deepEqual([writing.state.edits[message.id].text, draft(writing), writing.state.changes], ['half', 'theirs', []]);
});

test('a refusal does not write over what is being typed on top of it', () => {
  for (const code of ['version_conflict', 'not_found']) {
    const { event, client, wants, starts, refuse } = said();
    wants('edit', 'k', 'better');
    starts('k');
    client.does({ type: 'edit/opened', room_id: ROOM, message: client.room.timeline.live.messages[0] });
    client.does({ type: 'edit/typed', message_id: event.id, text: 'better still' });
    refuse('k', { code });
    const { edits, drafts } = client.state;
    assert.equal(code === 'not_found' ? drafts[ROOM].text : edits[event.id].text, 'better still');
    assert.equal(event.id in edits, code !== 'not_found');
  }
});

test('when the log is another one, changes are given up aloud and their texts kept', () => {
  const { log, client, wants } = said();
  const [second, third] = ['b', 'c'].map((key) => log.post(ANN, key, `said ${key}`));
  client.hears(second).hears(third);
  const open = (message, text) => {
    client.does({ type: 'edit/opened', room_id: ROOM, message: client.room.timeline.live.messages.find(({ id }) => id === message.id) });
    if (text) client.does({ type: 'edit/typed', message_id: message.id, text });
  };
  open(third);
  client.hears(new Log(ROOM, 'e2').welcome());
  assert.deepEqual([client.state.notice, client.state.drafts, client.state.edits], [null, {}, {}], 'nothing was written');
  const again = said();
  again.wants('edit', 'k', 'mine');
  const other = again.log.post(ANN, 'b', 'said b');
  again.client.hears(other).does({ type: 'edit/opened', room_id: ROOM, message: again.client.room.timeline.live.messages[1] });
  again.client.does({ type: 'edit/typed', message_id: other.id, text: 'half' });
  again.client.hears(new Log(ROOM, 'e2').welcome());
  const { notice, drafts, edits, changes } = again.client.state;
  assert.match(notice.text, /began anew/);
  assert.deepEqual([drafts[ROOM].text, edits, changes], ['mine\nhalf', {}, []]);
  wants('delete', 'd');
  client.hears(new Log(ROOM, 'e3').welcome());
  assert.match(client.state.notice.text, /deletions/);
  assert.deepEqual([client.state.changes, client.state.drafts], [[], {}]);
});

test('a change of an earlier page is not carried out on a message of another log', () => {
  const { client, wants, event } = said();
  wants('edit', 'k', 'mine');
  const entries = structuredClone(unsaved(client.state));
  const other = new Log(ROOM, 'e2');
  const before = new Client().does({ type: 'send/restored', entries }).hears(other.welcome());
  const after = new Client().hears(other.welcome()).does({ type: 'send/restored', entries });
  for (const { state } of [before, after]) {
    assert.deepEqual([state.changes, state.drafts[ROOM].text], [[], 'mine']);
    assert.match(state.notice.text, /began anew/);
  }
  const same = new Client().does({ type: 'send/restored', entries }).hears(new Log().welcome());
  assert.deepEqual(same.state.changes.map(({ message_id, body }) => [message_id, body]), [[event.id, 'mine']]);
});
