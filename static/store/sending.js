// Optimistic writes: the outbox of posts, edits and deletions on their way, and how each ends. Pure.

import { confirm, correct, find, forget } from './timeline.js';
import { withRoom } from './rooms.js';

export const OUTBOX_MAX_AGE_MS = 24 * 3_600_000;

/** An entry is `{room_id, client_message_id, body, at, state: pending | sending | failed, tries, retryAt, error}`. */
export function makeEntry({ room_id, client_message_id, body, at }) {
  return { room_id, client_message_id, body, at, state: 'pending', tries: 0, retryAt: 0, error: null };
}

const withEntry = (state, clientMessageId, change) => ({
  ...state,
  outbox: state.outbox.map((entry) => (entry.client_message_id === clientMessageId ? { ...entry, ...change } : entry)),
});
const without = (state, clientMessageId) => ({
  ...state,
  outbox: state.outbox.filter((entry) => entry.client_message_id !== clientMessageId),
});

export function onQueued(state, entry) {
  return { ...withDraft(state, entry.room_id, ''), outbox: [...state.outbox, makeEntry(entry)] };
}

/** Entries of an earlier page or of a tab that is gone. */
export function onRestored(state, entries, now) {
  const known = new Set(state.outbox.map((entry) => entry.client_message_id));
  const fresh = entries.filter((entry) => !known.has(entry.client_message_id)).map((entry) => {
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

export const onSending = (state, id) => withEntry(state, id, { state: 'sending', error: null });

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
  if (retryAt) return withEntry(state, client_message_id, { state: 'pending', tries: entry.tries + 1, retryAt });
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

const withEdit = (state, messageId, edit) => {
  const edits = { ...state.edits };
  if (edit) edits[messageId] = edit;
  else delete edits[messageId];
  return { ...state, edits };
};

/** An edit is `{room_id, text, version, state: open | saving | conflict | failed, reason}`. */
export const onEditOpened = (state, { room_id, message }) =>
  withEdit(state, message.id, { room_id, text: message.body, version: message.version, state: 'open', reason: null });

export const onEditClosed = (state, messageId) => withEdit(state, messageId, null);

export const onEditSaving = (state, { message_id, text }) =>
  withEdit(state, message_id, { ...state.edits[message_id], text, state: 'saving', reason: null });

export function onEditSaved(state, { room_id, message_id, body, version, at }) {
  const next = withEdit(state, message_id, null);
  return withRoom(next, room_id, (room) => ({
    ...room, timeline: correct(room.timeline, { id: message_id, body, version, edited_at: at }),
  }));
}

/** The text stays with its writer; `current` is the message as the server has it, where it was asked. */
export function onEditRefused(state, { message_id, error, current }) {
  const edit = state.edits[message_id];
  if (!edit) return state;
  const conflict = error.code === 'version_conflict';
  const next = withEdit(state, message_id, {
    ...edit,
    state: conflict ? 'conflict' : 'failed',
    version: current?.version ?? error.version ?? edit.version,
    reason: conflict ? 'This message was changed meanwhile. Above is how it reads on the server; your text is kept below.' : error.message,
  });
  if (!current) return next;
  return withRoom(next, edit.room_id, (room) => ({ ...room, timeline: correct(room.timeline, current) }));
}

export const onDeleting = (state, messageId) => ({ ...state, deletes: { ...state.deletes, [messageId]: true } });

export function onDeleteEnded(state, { room_id, message_id, done }) {
  const deletes = { ...state.deletes };
  delete deletes[message_id];
  const next = { ...state, deletes };
  return done
    ? withRoom(next, room_id, (room) => ({ ...room, timeline: forget(room.timeline, message_id) }))
    : next;
}

export const findMessage = (state, roomId, messageId) => state.rooms[roomId] && find(state.rooms[roomId].timeline, messageId);
