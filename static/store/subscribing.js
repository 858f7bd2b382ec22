// Welcome, subscriptions and what their answers mean for the cached rooms. Pure.

import { streamsFrom } from './answers.js';
import { attendanceFrom, presenceFrom } from './attendance.js';
import { onEvent, TYPING_EXPIRY_MS } from './events.js';
import { onSelf } from './identity.js';
import { counted, dropRoom, makeRoom, withRoom } from './rooms.js';
import { emptyTimeline, resetAt } from './timeline.js';

export function onWelcome(state, data) {
  const sameLog = state.epoch === null || state.epoch === data.epoch;
  const rooms = {};
  for (const listed of data.rooms) {
    const known = sameLog ? state.rooms[listed.room_id] : undefined;
    const fresh = makeRoom({ ...listed, id: listed.room_id });
    // The head of the welcome is a position to resume from: nothing between it and the subscription is missed.
    rooms[fresh.id] = known
      ? { ...counted(known, listed, data.user), kind: listed.kind, name: listed.name, members: listed.members ?? known.members, ...unlinked(known) }
      : { ...fresh, timeline: emptyTimeline(listed.head) };
  }
  // The welcome lists only the first rooms: those beyond them stay until the list of all is read.
  if (sameLog && data.more_rooms) {
    for (const room of Object.values(state.rooms)) rooms[room.id] ??= { ...room, ...unlinked(room) };
  }
  const self = onSelf(state, data.user);
  return {
    ...self, rooms,
    epoch: data.epoch,
    limits: data.limits ?? state.limits,
    connection: { state: 'connected' },
    stale: { ...self.stale, rooms: self.stale.rooms || !sameLog || data.more_rooms === true, users: true },
  };
}

/** `request` tells one request from the next: a room that was taken away and given back meanwhile is asked for anew. */
export function onAsked(state, roomIds, request) {
  return roomIds.reduce((next, id) => withRoom(next, id, { link: 'asked', request }), state);
}

/** One entry of a subscription's answer; `after` is the position that was asked from. */
export function onSubscribed(state, { entry, now, request }) {
  if (entry.error) return onSubscriptionRefused(state, entry, request);
  const id = entry.room.id;
  const before = state.rooms[id];
  if (!before) return state;
  if (entry.level === 'badge') return onFollowed(state, before, entry);
  let next = state;
  const line = before.timeline;
  if (entry.recovery === 'gap') next = startOver(next, before, entry.head);
  else if (line.seq === null) next = withRoom(next, id, { timeline: resetAt(line, entry.head) });
  else for (const event of entry.events ?? []) next = onEvent(next, event);
  if (!next.rooms[id]) return next;
  // A recovery that claims to be complete and is not gets the treatment of a gap.
  const isShort = next.rooms[id].timeline.seq < entry.head;
  if (isShort) next = startOver(next, next.rooms[id], entry.head);
  // Without a position to go on from, what came since the last count was not replayed.
  const isHole = isShort || entry.recovery === 'gap' || (line.seq === null && before.countedTo < entry.head);
  const { kind, name, members, created_by, typing = [], online, read, unread } = entry.room;
  next = withRoom(next, id, (room) => ({
    ...counted(room, { head: entry.head, read: read ?? room.read, unread: unread ?? room.unread }, state.me),
    // Over a hole only the server can count.
    doubt: unread === undefined && (room.doubt || isHole),
    kind, name, created_by, link: 'live', level: 'full',
    ...attendanceFrom(entry.room),
    streams: streamsFrom(room, entry.room.streams),
    members: members ?? room.members,
    typing: Object.fromEntries(typing.filter((user) => user.id !== state.me?.id)
      .map((user) => [user.id, { name: user.name, until: now + TYPING_EXPIRY_MS }])),
  }));
  return online ? { ...next, presence: presenceFrom(entry.room) } : next;
}

/** Followed by badge: the count is the server's. A room of which nothing is shown yet begins anew where it is opened. */
function onFollowed(state, room, { room: { kind, name, created_by }, head, read, unread }) {
  const { timeline } = room;
  return withRoom(state, room.id, {
    ...counted(room, { head, read, unread }, state.me), kind, name, created_by,
    link: 'live', level: 'badge', typing: {}, present: null, presentCount: null,
    timeline: timeline.live.loaded ? timeline : emptyTimeline(null, timeline.generation + 1),
  });
}

/** How a room that is followed by badge stands. What is heard in full is counted here. */
export function onBadge(state, { room_id, data }) {
  return withRoom(state, room_id, (room) => (room.level === 'badge' ? counted(room, data, state.me) : room));
}

/** Nothing cached of this room can be continued. The inbox and the commons only carry changes of lists: those are read anew. */
function startOver(state, room, head) {
  const next = withRoom(state, room.id, { timeline: resetAt(room.timeline, head) });
  if (room.kind === 'inbox') return { ...next, stale: { ...next.stale, rooms: true, sessions: true } };
  if (room.kind === 'commons') return { ...next, stale: { ...next.stale, rooms: true, users: true } };
  return next;
}

function onSubscriptionRefused(state, { room_id, error }, request) {
  // It was given back since: this refusal is of the time before.
  if (state.rooms[room_id]?.request !== request) return state;
  return error.retryable ? withRoom(state, room_id, { link: 'refused', level: null }) : dropRoom(state, room_id);
}

/**
 * The list of rooms read anew: what is not in it is not ours any more. `known` are the rooms there were when it was asked for: those that
 * came or went while it was under way are not its to judge.
 */
export function onRoomsListed(state, listed, known = Object.keys(state.rooms).map(Number)) {
  const asked = new Set(known);
  const ids = new Set(listed.map(({ id }) => id));
  let next = { ...state, stale: { ...state.stale, rooms: false } };
  for (const room of Object.values(state.rooms)) {
    if (asked.has(room.id) && !ids.has(room.id) && room.kind !== 'inbox' && room.kind !== 'commons') next = dropRoom(next, room.id);
  }
  for (const { read, unread, head, ...room } of listed) {
    const present = next.rooms[room.id];
    if (!present && asked.has(room.id)) continue;
    if (!present) next = { ...next, rooms: { ...next.rooms, [room.id]: { ...makeRoom({ ...room, read, unread, head }), timeline: emptyTimeline(head) } } };
    else next = withRoom(next, room.id, (old) => ({ ...counted({ ...old, name: room.name, members: room.members ?? old.members }, { head, read, unread }, state.me) }));
  }
  return next;
}

export function onResync(state, { room_id }) {
  return withRoom(state, room_id, { link: 'torn', level: null });
}

export function onConnection(state, connection) {
  if (connection.state === 'open') return state;
  const rooms = {};
  for (const room of Object.values(state.rooms)) rooms[room.id] = { ...room, ...unlinked(room) };
  return { ...state, connection, rooms };
}

/** Without a socket there is no subscription; what could not be read before is tried again with the next. */
const unlinked = ({ timeline }) => ({ link: 'none', level: null, typing: {}, present: null, presentCount: null, timeline: timeline.failed ? { ...timeline, failed: null } : timeline });

/** A request was refused as a whole, or nobody answered: what there was before it stays, and the rest is asked for again. */
export const onUnanswered = (state, roomId) => withRoom(state, roomId, (room) => {
  if (room.link !== 'asked' && room.link !== 'refused') return room;
  return { ...room, link: room.link === 'asked' && room.level !== null ? 'live' : 'none' };
});
