// Views of the state that several pages share: names, lists, totals and the rows of a room. Pure.

import { answerOf, regenerated } from './answers.js';
import { changesById } from './changing.js';
import { TALK } from './rooms.js';

const GROUP_MS = 5 * 60_000;

export function roomTitle(state, room) {
  if (room.kind !== 'direct') return room.name || 'Untitled';
  const others = counterparts(state, room);
  return others.length ? others.map((user) => nameOf(state, user)).join(', ') : `${state.me?.name ?? 'You'} (you)`;
}

export const counterparts = (state, room) => (room.members ?? []).filter(({ id }) => id !== state.me?.id);

export const nameOf = (state, user) => state.users[user.id]?.name ?? user.name ?? 'Somebody';

/** Rooms by section: `open` and `closed` together as rooms, and direct ones, each by name. */
export function roomLists(state) {
  const titled = Object.values(state.rooms)
    .filter(({ kind }) => TALK.has(kind))
    .map((room) => ({ room, title: roomTitle(state, room) }))
    .sort((a, b) => a.title.localeCompare(b.title) || a.room.id - b.room.id);
  return {
    rooms: titled.filter(({ room }) => room.kind !== 'direct'),
    directs: titled.filter(({ room }) => room.kind === 'direct'),
  };
}

export const totalUnread = (state) =>
  Object.values(state.rooms).reduce((sum, room) => sum + (TALK.has(room.kind) ? room.unread : 0), 0);

export const people = (state) =>
  Object.values(state.users).sort((a, b) => a.name.localeCompare(b.name) || a.id - b.id);

export function typists(state, roomId) {
  return Object.values(state.rooms[roomId]?.typing ?? {}).map(({ name }) => name);
}

export const isAdmin = (state) => state.me?.role === 'admin';

/** Guests talk in the rooms they were added to; they make none, and add nobody. */
export const isGuest = (state) => state.me?.role === 'guest';

export const mayManage = (state, room) => isAdmin(state) || (room.created_by === state.me?.id && !isGuest(state));

/** The messages on screen: the linked excerpt while there is one, else the live window. */
export const shownWindow = (room) => room.timeline.excerpt ?? room.timeline.live;

/**
 * What the message list shows, top to bottom. `key` identifies a row for good: a post keeps its key from pending to
 * confirmed. `lineAfter` is the read mark behind which the new messages begin, or null.
 */
export function rowsOf(state, roomId, lineAfter = null) {
  const room = state.rooms[roomId];
  if (!room) return [];
  const { messages, older } = shownWindow(room);
  const rows = [];
  const changes = changesById(state);
  const again = regenerated(messages);
  const manages = mayManage(state, room);
  // What waits here may be of a day before the last message's.
  const days = new Set();
  let previous = null;
  let lineDrawn = lineAfter === null;
  if (!older && (room.timeline.live.loaded || room.timeline.excerpt)) rows.push({ kind: 'start', key: 'start' });
  const add = (message, status, entry = null) => {
    const at = Date.parse(message.at);
    const day = new Date(at).toDateString();
    const key = message.client_message_id ? `c:${message.author.id}:${message.client_message_id}` : `m:${message.id}`;
    if (previous?.day !== day) rows.push({ kind: 'day', key: days.has(day) ? `day:${day}:${key}` : `day:${day}`, at });
    days.add(day);
    const isNew = !lineDrawn && message.seq > lineAfter && message.author.id !== state.me?.id;
    if (isNew) {
      lineDrawn = true;
      rows.push({ kind: 'line', key: 'line' });
    }
    const grouped = !isNew && previous?.day === day && previous.author === message.author.id && at - previous.at < GROUP_MS;
    const answer = answerOf(room, message);
    if (answer) Object.assign(answer, { mayStop: manages || answer.asker_id === state.me?.id, mayAsk: answer.kind === 'answer' && !again.has(answer.id) });
    rows.push({
      kind: 'message', key, message, status, entry, grouped, answer,
      asks: room.asks[message.id] ?? null,
      name: nameOf(state, message.author),
      nameOf: (user) => nameOf(state, user),
      edit: state.edits[message.id] ?? null,
      change: changes.get(message.id) ?? null,
    });
    previous = { day, author: message.author.id, at };
  };
  for (const message of messages) if (changes.get(message.id)?.kind !== 'delete') add(message, 'sent');
  if (room.timeline.excerpt) return rows;
  for (const entry of state.outbox) {
    if (entry.room_id !== roomId) continue;
    const { client_message_id, body } = entry;
    add({ client_message_id, body, at: new Date(entry.at).toISOString(), author: state.me }, entry.state === 'failed' ? 'failed' : 'pending', entry);
  }
  return rows;
}
