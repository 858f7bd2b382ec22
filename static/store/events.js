// What each durable event and each signal changes, once its turn in the room's order has come. Pure.

import { onEnded } from './answers.js';
import { hearsOfAll, onSelf, onUserLeft } from './identity.js';
import { onSessionBegun, onSessionEnded } from './sessions.js';
import { onSynced } from './preferences.js';
import { receive } from './timeline.js';
import { dropRoom, moveRead, upsertRoom, withRoom } from './rooms.js';

export const TYPING_EXPIRY_MS = 6_000;

export function onEvent(state, event) {
  const room = state.rooms[event.room_id];
  if (!room) return state;
  const { line, applied, torn } = receive(room.timeline, event);
  const link = torn && room.link === 'live' ? 'torn' : room.link;
  if (line === room.timeline && link === room.link) return state;
  const next = withRoom(state, room.id, { timeline: line, link, level: torn ? null : room.level, ...unreadAfterDeletions(room, applied, state.me) });
  return applied.reduce(take, next);
}

function take(state, event) {
  const { room_id, data } = event;
  switch (event.type) {
    case 'message.posted':
      return posted(state, event);
    case 'ai.ended':
      return onEnded(state, event);
    case 'settings.synced':
      return onSynced(state, data);
    case 'room.updated':
      return withRoom(state, room_id, { name: data.name });
    case 'room.deleted':
      return dropRoom(state, room_id);
    case 'member.added':
      return withRoom(metByGuest(state, data.user), room_id, (room) => room.members
        ? { ...room, members: [...room.members.filter(({ id }) => id !== data.user.id), data.user] } : room);
    case 'member.removed':
      if (data.user_id === state.me?.id) return dropRoom(state, room_id);
      return withRoom(state, room_id, (room) => room.members
        ? { ...room, members: room.members.filter(({ id }) => id !== data.user_id) } : room);
    case 'membership.granted':
    case 'room.listed':
      return upsertRoom(state, data.room);
    case 'membership.revoked':
    case 'room.unlisted':
      return dropRoom(state, data.room_id);
    case 'read.marked':
      return withRoom(state, data.room_id, (room) => moveRead(room, data.read, state.me));
    case 'user.joined':
    case 'user.updated':
      return withUser(state, data.user);
    case 'user.left':
      return onUserLeft(state, data);
    case 'session.begun':
      return onSessionBegun(state, data);
    case 'session.ended':
      return onSessionEnded(state, data);
    case 'account.updated':
      return { ...state, account: { ...state.account, name: data.name } };
    default:
      return state;
  }
}

function posted(state, { room_id, seq, data }) {
  const mine = data.author.id === state.me?.id;
  const next = withRoom(state, room_id, (room) => {
    const typing = { ...room.typing };
    delete typing[data.author.id];
    const counts = !mine && seq > room.countedTo && seq > room.read;
    return { ...room, typing, lastBy: { ...room.lastBy, [data.author.id]: seq }, unread: room.unread + (counts ? 1 : 0) };
  });
  return mine ? settleOwn(next, room_id, [data.client_message_id]) : next;
}

/** A message of one's own that is seen in the room needs no pending copy any more. */
export function settleOwn(state, roomId, clientMessageIds) {
  const outbox = state.outbox.filter((entry) => entry.room_id !== roomId || !clientMessageIds.includes(entry.client_message_id));
  return outbox.length === state.outbox.length ? state : { ...state, outbox };
}

/** Deleting an unread message of somebody else makes one unread less; what is not at hand makes the count doubtful. */
function unreadAfterDeletions(room, events, me) {
  const { read, countedTo, timeline } = room;
  let { unread, doubt } = room;
  for (const { type, seq, data } of events) {
    if (type !== 'message.deleted' || seq <= countedTo || unread === 0) continue;
    const message = timeline.live.messages.find(({ id }) => id === data.message_id);
    if (!message) doubt = true;
    else if (message.seq > read && message.author.id !== me?.id) unread -= 1;
  }
  return { unread, doubt };
}

export function withUser(state, user) {
  const next = { ...state, users: { ...state.users, [user.id]: { ...state.users[user.id], ...user } } };
  return user.id === state.me?.id ? onSelf(next, user) : next;
}

/** Guests aren't told who joins; whoever comes into a room of theirs they get to know there. */
const metByGuest = (state, user) => (hearsOfAll(state) || state.users[user.id] ? state : withUser(state, user));

export function onTyping(state, { room_id, at_seq, data: { user, typing } }, now) {
  return withRoom(state, room_id, (room) => {
    if (typing && at_seq < (room.lastBy[user.id] ?? 0)) return room;
    const others = { ...room.typing };
    delete others[user.id];
    if (typing && user.id !== state.me?.id) others[user.id] = { name: user.name, until: now + TYPING_EXPIRY_MS };
    return { ...room, typing: others };
  });
}

/** Ends what nobody has renewed. */
export function expireTyping(state, now) {
  let next = state;
  for (const room of Object.values(state.rooms)) {
    const alive = Object.entries(room.typing).filter(([, { until }]) => until > now);
    if (alive.length < Object.keys(room.typing).length) next = withRoom(next, room.id, { typing: Object.fromEntries(alive) });
  }
  return next;
}
