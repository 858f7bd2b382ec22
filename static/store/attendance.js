// Who is here, who has a room open, and what each signal of it changes. Pure.

import { withRoom } from './rooms.js';

export const PRESENCE_NAMES = { online: 'online', away: 'away', offline: 'offline', signed_out: 'signed out' };

/** What is known of a user; whoever is not in `state.presence` is offline. */
export const presenceOf = (state, userId) => state.presence[userId] ?? 'offline';

/** Whether the user has a live connection, looking or not. */
export const isHere = (state, userId) => ['online', 'away'].includes(presenceOf(state, userId));

/** The best of several: a conversation is online when one of the others is. */
export function bestPresence(state, users) {
  const states = users.map(({ id }) => presenceOf(state, id));
  return ['online', 'away', 'offline'].find((one) => states.includes(one)) ?? states[0] ?? 'offline';
}

export function onPresence(state, { data: { users } }) {
  const presence = { ...state.presence };
  for (const { id, state: one } of users) {
    if (one === 'offline') delete presence[id];
    else presence[id] = one;
  }
  return { ...state, presence };
}

/** The snapshot of the commons; who is away is among those online. */
export function presenceFrom({ online, away = [], signed_out = [] }) {
  const presence = {};
  for (const id of online) presence[id] = 'online';
  for (const id of away) presence[id] = 'away';
  for (const id of signed_out) presence[id] = 'signed_out';
  return presence;
}

/** The snapshot of a room: `present` is null when they are too many to name. */
export const attendanceFrom = ({ present, present_count }) => ({
  present: present ? Object.fromEntries(present.map(({ id, name }) => [id, name])) : null,
  presentCount: present_count ?? null,
});

export function onRoomPresence(state, { room_id, data }) {
  return withRoom(state, room_id, (room) => {
    const { present, joined, left, count } = data;
    if (present) return { ...room, ...attendanceFrom({ present, present_count: count }) };
    if (!joined || !room.present) return { ...room, present: null, presentCount: count };
    const names = { ...room.present };
    for (const id of left) delete names[id];
    for (const { id, name } of joined) names[id] = name;
    return { ...room, present: names, presentCount: count };
  });
}
