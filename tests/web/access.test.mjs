// Who one is, where one is signed in, and who comes and goes: what the reducer makes of it, and the words for it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closeCodeOf, endedText } from '../../static/ended.js';
import { presenceOf } from '../../static/store/attendance.js';
import { inviteState, usesText } from '../../static/store/invites.js';
import { isAdmin, nameOf, people } from '../../static/store/select.js';
import { nameOfDevice, wayOf } from '../../static/store/sessions.js';
import { durationOf } from '../../static/view/text.js';
import { Refusal } from '../../static/wire.js';
import { ANN, BOB, Client, COMMONS, INBOX, joined, Log, NOW, ROOM } from './support.mjs';

const at = (seconds) => new Date(NOW + seconds * 1_000).toISOString();
const session = (id, more = {}) => ({ id, device: 'curl/8.0', address: '203.0.113.7', begun_by: 'password', created_at: at(-id), last_active_at: at(-id), expires_at: at(9_000), current: false, ...more });

function quiet(roomId) {
  const log = new Log(roomId);
  log.events = [];
  return log;
}

test('a session that begins elsewhere is on the list and told at once, and the rest of it is asked for', () => {
  const inbox = quiet(INBOX);
  const client = joined(new Log()).does({ type: 'sessions/listed', sessions: [session(5), session(1, { current: true })] });
  assert.deepEqual(client.state.sessions.map(({ id }) => id), [1, 5]);
  const begun = { id: 9, device: 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Version/17.0 Mobile Safari/604.1', begun_by: 'transfer', created_at: at(0) };
  client.hears(inbox.append('session.begun', { session: begun }));
  assert.deepEqual(client.state.sessions.map(({ id }) => id), [1, 9, 5]);
  assert.match(client.state.notice.text, /signed in as you by a link from another device: Safari on iPhone/);
  assert.equal(client.state.notice.link.href, '/settings');
  assert.equal(client.state.begun.id, 9);
  assert.equal(client.state.stale.sessions, true);
  client.does({ type: 'sessions/refreshing' }).does({ type: 'sessions/listed', sessions: [session(1, { current: true }), session(9), session(5)] });
  assert.equal(client.state.stale.sessions, false);
  client.hears(inbox.append('session.ended', { session_id: 9 }));
  assert.deepEqual(client.state.sessions.map(({ id }) => id), [1, 5]);
});

test('where nobody looks at the list a session that begins is told all the same', () => {
  const client = joined(new Log()).hears(quiet(INBOX).append('session.begun', { session: session(9) }));
  assert.equal(client.state.sessions, null);
  assert.match(client.state.notice.text, /curl\/8\.0/);
});

test('a gap in the inbox reads the devices anew', () => {
  const client = joined(new Log());
  const entry = { room: { id: INBOX, kind: 'inbox', name: null, head: 9, read: 0, unread: 0, typing: [] }, head: 9, recovery: 'gap', reason: 'window_exceeded', page: 'p' };
  client.does({ type: 'rooms/subscribed', entries: [entry] });
  assert.deepEqual([client.state.stale.sessions, client.state.stale.rooms], [true, true]);
});

test('another role is told, and shows and hides what is for administrators', () => {
  const commons = quiet(COMMONS);
  const client = joined(new Log()).does({ type: 'account/learned', account: { name: 'Den', join_code: 'secret' } })
    .does({ type: 'users/listed', users: [ANN, BOB] });
  client.hears(commons.append('user.updated', { user: { ...ANN, role: 'member' } }));
  assert.equal(isAdmin(client.state), false);
  assert.deepEqual(client.state.account, { name: 'Den' }, 'the link that invites is not theirs any more');
  assert.match(client.state.notice.text, /a member/);
  assert.deepEqual([client.state.stale.account, client.state.stale.users, client.state.stale.rooms], [true, true, true]);
  // The socket was closed for it (4004), and the welcome of the next says so, too.
  client.does({ type: 'notice/shown', text: null }).does({ type: 'account/refreshing' }).hears(new Log().welcome({ ...ANN, role: 'member' }));
  assert.deepEqual([client.state.notice, client.state.stale.account], [null, false], 'what is known already is not told again');
  client.hears(new Log().welcome(ANN));
  assert.deepEqual([isAdmin(client.state), client.state.stale.account], [true, true]);
});

test('a name that changes is no other role', () => {
  const client = joined(new Log()).does({ type: 'users/refreshing' });
  client.hears(quiet(COMMONS).append('user.updated', { user: { ...ANN, name: 'Anna' } }));
  assert.deepEqual([client.state.me.name, client.state.notice, client.state.stale.account], ['Anna', null, false]);
});

test('who left is among the people no more, but what they wrote keeps their name', () => {
  const commons = quiet(COMMONS);
  const client = joined(new Log()).does({ type: 'users/listed', users: [ANN, BOB] });
  client.hears({ type: 'presence', room_id: COMMONS, at_seq: 0, data: { users: [{ id: BOB.id, state: 'online' }] } });
  client.hears(commons.append('user.left', { user_id: BOB.id }));
  assert.deepEqual(people(client.state).map(({ id }) => id), [ANN.id]);
  assert.equal(presenceOf(client.state, BOB.id), 'offline');
  assert.equal(nameOf(client.state, BOB), 'Bob');
  client.hears(commons.append('user.joined', { user: BOB }));
  assert.deepEqual(people(client.state).map(({ id }) => id), [ANN.id, BOB.id]);
});

test('a guest knows whom the list names, how they are, and who comes into their rooms', () => {
  const guest = { id: 7, name: 'Gus', role: 'guest' };
  const log = new Log();
  const welcome = log.welcome(guest);
  welcome.data.rooms = welcome.data.rooms.filter(({ kind }) => kind !== 'commons');
  welcome.data.rooms[0].kind = 'closed';
  const client = new Client().does({ type: 'me/learned', me: guest }).hears(welcome).subscribes(log);
  client.does({ type: 'users/listed', users: [{ ...guest, presence: 'online' }, { ...BOB, presence: 'away' }] });
  assert.deepEqual([presenceOf(client.state, BOB.id), presenceOf(client.state, 1)], ['away', 'offline']);
  const event = log.append('member.added', { user: { id: 8, name: 'Carl', role: 'member' }, added_by: 2 });
  client.hears(event);
  assert.deepEqual(people(client.state).map(({ name }) => name), ['Bob', 'Carl', 'Gus']);
  assert.equal(client.state.rooms[ROOM].timeline.seq, event.seq);
});

test('with the commons presence is what they tell, not what a list said earlier', () => {
  const client = joined(new Log());
  client.hears({ type: 'presence', room_id: COMMONS, at_seq: 0, data: { users: [{ id: BOB.id, state: 'online' }] } });
  client.does({ type: 'users/listed', users: [{ ...BOB, presence: 'offline' }] });
  assert.equal(presenceOf(client.state, BOB.id), 'online');
});

test('each way of not being signed in has its sentence, and other refusals are none', () => {
  const refusal = (code) => new Refusal({ code, status: /^(unauth|token)/.test(code) ? 401 : 403 });
  const said = (code, closed) => [refusal(code).isSignedOut, endedText(refusal(code), closed)];
  assert.deepEqual(said('unauthenticated'), [true, undefined]);
  assert.match(said('unauthenticated', 4500)[1], /expired/);
  assert.match(said('unauthenticated', 4501)[1], /signed out/);
  assert.match(said('token_expired')[1], /expired/);
  assert.match(said('token_revoked', 4500)[1], /signed out/, 'the server knows better');
  assert.match(said('token_invalid')[1], /not known/);
  assert.equal(said('token_revoked', 4502)[1], undefined, 'that the account was closed is told already, and signing in won’t help');
  assert.deepEqual(['unauthenticated', 'token_expired', 'token_invalid', 'token_revoked', 'banned', 'overloaded']  .map((code) => closeCodeOf(refusal(code))), [4500, 4500, 4500, 4501, 4502, undefined]);
});

test('devices have the names that people give them', () => {
  const chrome = 'AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0';
  const agents = {
    'Edge on Windows': `Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${chrome} Safari/537.36 Edg/126.0.0.0`,
    'Chrome on Linux': `Mozilla/5.0 (X11; Linux x86_64) ${chrome} Safari/537.36`,
    'Chrome on Android': `Mozilla/5.0 (Linux; Android 10; K) ${chrome} Mobile Safari/537.36`,
    'Samsung Internet on Android': 'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36',
    'Opera on macOS': `Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) ${chrome} Safari/537.36 OPR/112.0.0.0`,
    'Firefox on iPhone': 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/127.0 Mobile/15E148 Safari/605.1.15',
    'Chrome on iPad': 'Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0 Mobile/15E148 Safari/604.1',
    'Firefox on Windows': 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0',
    'backup-script/1.2': ' backup-script/1.2 ',
    'Unknown device': '',
  };
  for (const [name, agent] of Object.entries(agents)) assert.equal(nameOfDevice(agent), name);
  assert.equal(nameOfDevice(undefined), 'Unknown device');
  assert.equal(nameOfDevice('x'.repeat(500)).length, 60);
  assert.deepEqual([wayOf({ begun_by: 'recovery' }), wayOf({ begun_by: 'of the future' }), wayOf({})], ['by a link from an administrator', '', '']);
});

test('an invitation is open until it is over, used up or withdrawn', () => {
  const invite = { expires_at: at(10), max_uses: 2, uses: 1, revoked_at: null };
  const states = [{}, { uses: 2 }, { expires_at: at(0) }, { revoked_at: at(-1) }, { expires_at: null, max_uses: null, uses: 99 }];
  assert.deepEqual(states.map((change) => inviteState({ ...invite, ...change }, NOW)), ['open', 'used', 'over', 'revoked', 'open']);
  assert.deepEqual([[0, 1], [1, 5], [0, null], [1, null], [7, null]].map(([uses, max_uses]) => usesText({ uses, max_uses })),
    ['used 0 of 1 time', 'used 1 of 5 times', 'not used yet', 'used once', 'used 7 times']);
});

test('a time that is left is told in the units that matter', () => {
  const told = [[0, '0 s'], [59_400, '59 s'], [60_000, '1 min'], [598_000, '9 min 58 s'], [3_600_000, '1 h'], [11_100_000, '3 h 5 min'], [90_000_000, '25 h'], [6 * 86_400_000, '6 days'], [-5, '0 s']];
  for (const [ms, text] of told) assert.equal(durationOf(ms), text);
});
