// What a room is in the client's state, and how unread counts follow from its head, its read mark and its messages. Pure.

import { emptyTimeline, knownFrom } from './timeline.js';

export const TALK = new Set(['open', 'closed', 'direct']);

/**
 * `link`: none | asked | live | torn | refused | parked – where the subscription of this socket stands. `level`: full | badge – what it
 * was granted as, null before. `countedTo`: events up to here are in `unread` already. `doubt`: the unread count has to be asked from the
 * server. `lastBy`: seq of each person's last message. `present`: names by id of who has the room open, null when unknown or too many;
 * `presentCount`: how many, null when unknown. `streams`, `asks`, `stopping`: what assistants are saying, store/answers.js.
 */
export function makeRoom({ id, kind, name = null, members, created_by, read = 0, unread = 0, head }) {
  return {
    id, kind, name, members, created_by, read, unread,
    countedTo: head ?? 0, doubt: false, link: 'none', level: null, typing: {}, present: null, presentCount: null, lastBy: {}, streams: {}, asks: {}, stopping: {}, timeline: emptyTimeline(),
  };
}

export function withRoom(state, id, change) {
  const room = state.rooms[id];
  if (!room) return state;
  const next = typeof change === 'function' ? change(room) : { ...room, ...change };
  return next === room ? state : { ...state, rooms: { ...state.rooms, [id]: next } };
}

/** What a room is followed as: everything of the one on screen and of what lists live on, the rest by badge. */
export const wantedLevel = (state, { id, kind }) => (id === state.open || !TALK.has(kind) ? 'full' : 'badge');

/**
 * Adds a room or refreshes what is known of it; undefined fields leave what is there. How far one has read in a room that is
 * new here only the server knows.
 */
export function upsertRoom(state, fresh) {
  const known = state.rooms[fresh.id];
  if (!known) return { ...state, rooms: { ...state.rooms, [fresh.id]: { ...makeRoom(fresh), doubt: fresh.read === undefined } } };
  const change = {};
  for (const key of ['kind', 'name', 'members', 'created_by']) if (fresh[key] !== undefined) change[key] = fresh[key];
  return withRoom(state, fresh.id, change);
}

export function dropRoom(state, id) {
  if (!state.rooms[id]) return state;
  const rooms = { ...state.rooms };
  delete rooms[id];
  return { ...state, rooms };
}

/** How many messages of others whose events were heard lie above `after`. What a page had before its event counts with the event. */
const heardAbove = ({ timeline }, after, me) =>
  timeline.live.messages.filter(({ seq, author }) => seq > after && seq <= (timeline.seq ?? 0) && author.id !== me?.id).length;

/** The server's own count, true at `head`; what came after it is added from what is known. */
export function counted(room, { head, read, unread }, me) {
  return {
    ...room, read, unread: unread + heardAbove(room, head, me), countedTo: Math.max(head, room.timeline.seq ?? 0), doubt: false,
  };
}

/** Moves the read mark forward, never back. */
export function moveRead(room, read, me) {
  if (read <= room.read) return room;
  const { timeline } = room;
  const known = timeline.seq ?? 0;
  if (read >= Math.max(known, room.countedTo)) return { ...room, read, unread: 0 };
  // What was counted without being seen only the server can count again; by badge it does so unasked.
  if (known < room.countedTo) return { ...room, read, doubt: room.doubt || room.level !== 'badge' };
  if (read + 1 < knownFrom(timeline)) return { ...room, read, doubt: true };
  return { ...room, read, unread: heardAbove(room, read, me) };
}
