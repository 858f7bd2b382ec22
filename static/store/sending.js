// Optimistic posts: the outbox of messages on their way, and how each ends. Pure.

import { confirm } from './timeline.js';
import { withRoom } from './rooms.js';

export const OUTBOX_MAX_AGE_MS = 24 * 3_600_000;

/** An entry is `{room_id, client_message_id, body, at, state: pending | sending | failed, tries, retryAt, waits, error}`. */
export function makeEntry({ room_id, client_message_id, body, at }) {
  return { room_id, client_message_id, body, at, state: 'pending', tries: 0, retryAt: 0, waits: null, error: null };
}

const withEntry = (state, clientMessageId, change) => ({
  ...state,
  outbox: state.outbox.map((entry) => (entry.client_message_id === clientMessageId ? { ...entry, ...change } : entry)),
});
const without = (state, clientMessageId) => ({
  ...state,
  outbox: state.outbox.filter((entry) => entry.client_message_id !== clientMessageId),
});

/** What is said stands at the end of the room: whoever looked at an older place goes there. */
export function onQueued(state, entry) {
  const next = withRoom(state, entry.room_id, (room) => ({ ...room, timeline: { ...room.timeline, excerpt: null } }));
  return { ...withDraft(next, entry.room_id, ''), outbox: [...state.outbox, makeEntry(entry)] };
}

/** Entries of an earlier page or of a tab that is gone. */
export function onRestored(state, entries, now) {
  const known = new Set(state.outbox.map((entry) => entry.client_message_id));
  const fresh = entries.filter(({ kind, client_message_id }) => !kind && !known.has(client_message_id)).map((entry) => {
    const failed = entry.state === 'failed' && !unanswered(entry);
    return failed ? entry : { ...makeEntry(entry), ...(now - entry.at > OUTBOX_MAX_AGE_MS ? expired : {}) };
  });
  return fresh.length ? { ...state, outbox: [...state.outbox, ...fresh].sort((a, b) => a.at - b.at) } : state;
}

const expired = { state: 'failed', error: { code: 'expired', message: 'It waited for more than a day.' } };

export function expireOutbox(state, now) {
  const old = (entry) => entry.state === 'pending' && now - entry.at > OUTBOX_MAX_AGE_MS;
  return state.outbox.some(old)
    ? { ...state, outbox: state.outbox.map((entry) => (old(entry) ? { ...entry, ...expired } : entry)) }
    : state;
}

/** Whether the server may have it: nobody answered, so the same id is sent again when the connection is new. */
const unanswered = (entry) => entry.error?.code === 'timeout';

export function onReconnected(state) {
  return {
    ...state,
    outbox: state.outbox.map((entry) => (entry.state === 'sending' || unanswered(entry)
      ? { ...entry, state: 'pending', error: null, retryAt: 0 } : entry)),
  };
}

export const onSending = (state, id) => withEntry(state, id, { state: 'sending', waits: null, error: null });

export const onRetry = (state, { client_message_id, fresh_id, now }) =>
  withEntry(state, client_message_id, {
    state: 'pending', error: null, tries: 0, retryAt: 0, at: now, client_message_id: fresh_id ?? client_message_id,
  });

export const onDiscarded = (state, id) => without(state, id);

/** The ack: the pending bubble becomes the message, unless its event was faster. */
export function onAcked(state, { room_id, client_message_id, id, seq, at, body }) {
  const next = without(state, client_message_id);
  const { id: author, name, role } = state.me;
  return withRoom(next, room_id, (room) => ({
    ...room,
    timeline: confirm(room.timeline, {
      id, room_id, seq, at, client_message_id, body, author: { id: author, name, role }, version: 1, edited_at: null,
    }),
  }));
}

/** What may pass is tried again; what will not goes back into the composer, or waits as failed where that is not empty. */
export function onRefused(state, { client_message_id, error, retryAt }) {
  const entry = state.outbox.find((candidate) => candidate.client_message_id === client_message_id);
  if (!entry) return state;
  // Nothing to send on: it waits as it is for the next connection, which sends it again.
  if (error.code === 'disconnected') return state;
  if (retryAt) return withEntry(state, client_message_id, {
    state: 'pending', retryAt, waits: error.code, tries: entry.tries + 1,
  });
  if (error.retryable || state.drafts[entry.room_id]?.text) {
    return withEntry(state, client_message_id, { state: 'failed', error: { code: error.code, message: error.message } });
  }
  return withDraft(without(state, client_message_id), entry.room_id, entry.body, error.message);
}

/** Takes a failed message back into the composer. */
export function onTakenBack(state, clientMessageId) {
  const entry = state.outbox.find((candidate) => candidate.client_message_id === clientMessageId);
  if (!entry) return state;
  const { text = '' } = state.drafts[entry.room_id] ?? {};
  const next = without(state, clientMessageId);
  return withDraft(next, entry.room_id, text ? `${text}\n${entry.body}` : entry.body, null);
}

/** `restored` counts the texts put there by something else than typing: the composer then shows them. */
export function withDraft(state, roomId, text, reason = null, restored = true) {
  const old = state.drafts[roomId];
  const revision = (old?.revision ?? 0) + (restored ? 1 : 0);
  return { ...state, drafts: { ...state.drafts, [roomId]: { text, reason, revision } } };
}
