// Edits and deletions: shown at once, on their way until the server agrees, and taken back with the writer's text when it doesn't. Pure.

import { withRoom } from './rooms.js';
import { OUTBOX_MAX_AGE_MS, withDraft } from './sending.js';
import { correct, find, forget } from './timeline.js';

/**
 * A change is `{kind: edit | delete, key, room_id, message_id, epoch, version, body, next, at, state: pending | sending, sent, tries, retryAt, waits}`.
 * `epoch`: the log that the message is of, for in another one its id is another message's.
 * `sent`: the server may have it, so that it is repeated word for word; what was written since waits in `next`.
 */
export function makeChange({ kind, key, room_id, message_id, epoch = null, version = null, body = null, next = null, at, sent = false }) {
  return { kind, key, room_id, message_id, epoch, version, body, next, at, state: 'pending', sent, tries: 0, retryAt: 0, waits: null };
}

/** What is shown of a message while a change of it is on its way. */
export const shownBody = (message, change) => (change?.kind === 'edit' ? change.next ?? change.body : message.body);

export const changesById = (state) => new Map(state.changes.map((change) => [change.message_id, change]));

const withEdit = (state, messageId, edit) => {
  const edits = { ...state.edits };
  if (edit) edits[messageId] = edit;
  else delete edits[messageId];
  return { ...state, edits };
};
const replaced = (state, key, change) => ({
  ...state, changes: state.changes.flatMap((one) => (one.key === key ? change ?? [] : one)),
});
const changeOf = (state, key) => state.changes.find((one) => one.key === key);
const withTimeline = (state, roomId, change) => withRoom(state, roomId, (room) => ({ ...room, timeline: change(room.timeline) }));

/** An open editor: `{kind: editor, room_id, message_id, epoch, text, version, state: open | conflict | failed, reason, at}`. */
export function onEditOpened(state, { room_id, message }) {
  // A text that was given back is not written over.
  if (state.edits[message.id]) return state;
  const change = state.changes.find(({ message_id }) => message_id === message.id);
  const text = shownBody(message, change);
  return withEdit(state, message.id, { kind: 'editor', room_id, message_id: message.id, epoch: state.epoch, text, version: message.version, state: 'open', reason: null });
}

/** What is typed outlives a look at another room. */
export function onEditTyped(state, { message_id, text }) {
  const editor = state.edits[message_id];
  return editor ? withEdit(state, message_id, { ...editor, text }) : state;
}

export const onEditClosed = (state, messageId) => withEdit(state, messageId, null);

/** Takes what a person wants changed. A message has one change at a time: what is newer is put into it. */
export function onChangeQueued(state, { change }) {
  const next = withEdit(state, change.message_id, null);
  const known = state.changes.find(({ message_id }) => message_id === change.message_id);
  const made = makeChange({ ...change, epoch: state.epoch });
  if (!known) return { ...next, changes: [...next.changes, made] };
  if (known.kind === 'delete') return next;
  if (change.kind === 'delete') return replaced(next, known.key, made);
  return replaced(next, known.key, known.sent ? { ...known, next: change.body } : { ...known, body: change.body });
}

export function onChangeStarted(state, { key }) {
  const change = changeOf(state, key);
  return change ? replaced(state, key, { ...change, state: 'sending', sent: true, waits: null }) : state;
}

export function onChangeAcked(state, { key, kind, room_id, message_id, body, version, at }) {
  if (kind === 'delete') return withTimeline(replaced(state, key, null), room_id, (line) => forget(line, message_id));
  const change = changeOf(state, key);
  const more = change?.next && change.next !== body ? makeChange({ ...change, version, body: change.next, next: null, sent: false }) : null;
  const next = withTimeline(replaced(state, key, more), room_id, (line) => correct(line, { id: message_id, body, version, edited_at: at }));
  const editor = state.edits[message_id];
  // Opened again before the answer: what it shows is that version now.
  if (editor?.state === 'open' && editor.version === change?.version) return withEdit(next, message_id, { ...editor, version });
  // An answer that came too late to be waited for.
  return editor?.state === 'failed' && editor.text === body ? withEdit(next, message_id, null) : next;
}

/** `current` is the message as the server has it, where it was asked; `retryAt` when it is tried again by itself. */
export function onChangeRefused(state, { key, error, retryAt, current }) {
  const change = changeOf(state, key);
  if (!change) return state;
  // Nothing to send on: it waits as it is for the next connection, which sends it again.
  if (error.code === 'disconnected') return state;
  if (retryAt) return replaced(state, key, { ...change, state: 'pending', tries: change.tries + 1, retryAt, waits: error.code });
  if (change.kind === 'delete') {
    const next = replaced(state, key, null);
    return error.code === 'not_found'
      ? withTimeline(next, change.room_id, (line) => forget(line, change.message_id))
      : { ...next, notice: { text: `The message was not deleted: ${error.message}` } };
  }
  return giveBack(replaced(state, key, null), change, error, current);
}

const textOf = ({ kind, text, next, body }) => (kind === 'editor' ? text : next ?? body);

/** Puts a text that has no place at its message any more into the composer of the room. */
function intoDraft(state, roomId, text, reason) {
  const { text: draft = '' } = state.drafts[roomId] ?? {};
  return withDraft(state, roomId, draft ? `${draft}\n${text}` : text, reason);
}

/** The text stays with its writer: in an editor below what the server has, or in the composer where that message is gone. */
function giveBack(state, change, error, current = null) {
  const { room_id, message_id, epoch, at } = change;
  // What is being written on top of it has it in it.
  const text = state.edits[message_id]?.text ?? textOf(change);
  if (error.code === 'not_found') {
    const next = withTimeline(withEdit(state, message_id, null), room_id, (line) => forget(line, message_id));
    return intoDraft(next, room_id, text, 'the message was deleted while you changed it.');
  }
  const conflict = error.code === 'version_conflict';
  const next = withEdit(state, message_id, {
    kind: 'editor', room_id, message_id, epoch, text, at,
    state: conflict ? 'conflict' : 'failed',
    version: current?.version ?? error.version ?? change.version,
    reason: conflict ? 'This message was changed meanwhile. Above is how it reads on the server; your text is kept below.' : error.message,
  });
  const told = state.open === room_id ? next : { ...next, notice: { text: 'A change was not saved. Your text is kept at the message.' } };
  return current ? withTimeline(told, room_id, (line) => correct(line, current)) : told;
}

/** What is to be remembered beyond this page, posts apart: changes on their way, and texts that were given back. */
export const unsaved = (state) => [...state.changes, ...Object.values(state.edits).filter(({ state: how }) => how !== 'open')];

/** Changes and texts of an earlier page or of a tab that is gone. What this page has of a message stands; no text of the other is lost. */
export function onChangesRestored(state, entries, now) {
  return expireChanges(entries.reduce(restored, state), now);
}

function restored(state, entry) {
  const { kind, key, room_id, message_id, at } = entry;
  if (!kind) return state;
  if (isForeign(entry, state.epoch)) return givenUp(state, [entry]);
  const change = state.changes.find((one) => one.message_id === message_id);
  const editor = state.edits[message_id];
  if (!change && !editor) {
    return kind === 'editor' ? withEdit(state, message_id, entry) : { ...state, changes: [...state.changes, makeChange(entry)] };
  }
  // Of a deletion and an edit the later one is what was wanted.
  if (kind === 'delete') return !editor && at > change.at ? replaced(state, change.key, makeChange(entry)) : state;
  const text = textOf(entry);
  if (change?.key === key || change?.kind === 'delete' || [change, editor].some((one) => one && textOf(one) === text)) return state;
  return intoDraft(state, room_id, text, 'this is a change of a message that you have changed in another way since.');
}

const isForeign = (one, epoch) => Boolean(one.epoch && epoch && one.epoch !== epoch);

/** What was to be changed has no place any more, but its text has a writer. */
function givenUp(state, written) {
  if (!written.length) return state;
  const reason = 'the server began anew before your change was saved.';
  const next = written.filter(({ kind }) => kind !== 'delete').reduce((kept, one) => intoDraft(kept, one.room_id, textOf(one), reason), state);
  const text = 'The server began anew. Edits and deletions that were not saved are given up; your texts are in the message boxes of their rooms.';
  return { ...next, notice: { text } };
}

/** Before a welcome: gives up what is of another log than its. */
export function onLogChanged(state, epoch) {
  const foreign = (one) => isForeign(one, epoch);
  const untouched = ({ state: how, room_id, message_id, text }) => how === 'open' && state.rooms[room_id] && find(state.rooms[room_id].timeline, message_id)?.body === text;
  const old = [...state.changes, ...Object.values(state.edits)].filter(foreign);
  if (!old.length) return state;
  const edits = Object.fromEntries(Object.entries(state.edits).filter(([, edit]) => !foreign(edit)));
  return givenUp({ ...state, edits, changes: state.changes.filter((change) => !foreign(change)) }, old.filter((one) => !untouched(one)));
}

export function expireChanges(state, now) {
  const error = { code: 'expired', message: 'It waited for more than a day.' };
  return state.changes
    .filter((change) => change.state === 'pending' && now - change.at > OUTBOX_MAX_AGE_MS)
    .reduce((next, { key }) => onChangeRefused(next, { key, error }), state);
}

export function onReconnected(state) {
  return state.changes.length === 0 ? state : { ...state, changes: state.changes.map((change) => ({ ...change, state: 'pending', retryAt: 0 })) };
}
