// What assistants are saying and how each answer stands: pieces by their place in bytes, and what was refused. Pure.

import { withRoom } from './rooms.js';
import { find } from './timeline.js';

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const bytesOf = (text) => encoder.encode(text).length;

/** The body of an answer that said nothing yet. */
export const PLACEHOLDER = '…';
const OPEN = new Set(['queued', 'running']);
export const isOpen = (run) => OPEN.has(run.state);

/**
 * `room.streams` holds, by message, what is being said now: `{run_id, state, text, bytes, torn}`. `bytes` is the length of the text in UTF-8,
 * where the next piece begins; `torn` says that a hole in it was asked for already.
 */
const makeStream = ({ run_id, state, text = '', torn = false }) => ({ run_id, state, text, bytes: bytesOf(text), torn });

const withStream = (room, messageId, stream) => ({ ...room, streams: { ...room.streams, [messageId]: stream } });

/** What was told of an answer before it ended is of no use any more. */
const isOver = (room, messageId) => {
  const run = room.timeline.ends[messageId]?.run ?? find(room.timeline, messageId)?.run;
  return Boolean(run && !isOpen(run));
};

/**
 * Puts a piece where it belongs: `{text, bytes}`, or null when what lies before it is missing. A piece that is there already changes nothing;
 * one that begins the text with other words than it has begins it anew.
 */
export function putPiece(known, { offset, text }) {
  if (offset === known.bytes) return { text: known.text + text, bytes: known.bytes + bytesOf(text) };
  if (offset > known.bytes) return null;
  const have = encoder.encode(known.text);
  const piece = encoder.encode(text);
  const shared = Math.min(piece.length, have.length - offset);
  const same = piece.subarray(0, shared).every((byte, at) => byte === have[offset + at]);
  if (!same) return offset === 0 ? { text, bytes: piece.length } : null;
  return piece.length === shared ? known : { text: known.text + decoder.decode(piece.subarray(shared)), bytes: offset + piece.length };
}

export function onState(state, { room_id, data: { run_id, message_id, state: how } }) {
  return withRoom(state, room_id, (room) => {
    const known = room.streams[message_id];
    if (isOver(room, message_id) || (known?.run_id === run_id && known.state === how)) return room;
    return withStream(room, message_id, known?.run_id === run_id ? { ...known, state: how } : makeStream({ run_id, state: how }));
  });
}

/** A piece of an answer. Over a hole the room is subscribed to anew, once: its snapshot has the whole text so far. */
export function onDelta(state, { room_id, data: { run_id, message_id, offset, text } }) {
  return withRoom(state, room_id, (room) => {
    if (isOver(room, message_id)) return room;
    const present = room.streams[message_id];
    const known = present?.run_id === run_id ? present : makeStream({ run_id, state: 'running' });
    const put = putPiece(known, { offset, text });
    if (put === known && present) return room;
    if (put) return withStream(room, message_id, { ...known, ...put, state: 'running', torn: known.torn });
    if (known.torn || room.link !== 'live') return room;
    return { ...withStream(room, message_id, { ...known, torn: true }), link: 'torn', level: null };
  });
}

/** What a subscription begins with is the whole truth of what is being said. */
export const streamsFrom = (room, streams = []) => Object.fromEntries(streams
  .filter(({ message_id }) => !isOver(room, message_id))
  .map((stream) => [stream.message_id, makeStream({ ...stream, torn: room.streams[stream.message_id]?.torn })]));

/** It is over: its text is the message's now. */
export function onEnded(state, { room_id, data: { message_id } }) {
  return withRoom(state, room_id, (room) => {
    if (!room.streams[message_id]) return room;
    const { [message_id]: over, ...streams } = room.streams;
    return { ...room, streams };
  });
}

/** How an answer stands, for the row of its message; null of other messages. */
export function answerOf(room, message) {
  const { run } = message;
  if (!run) return null;
  const live = isOpen(run) ? room.streams[message.id] : undefined;
  const text = isOpen(run) ? live?.text || run.text || '' : message.body === PLACEHOLDER && run.state !== 'done' ? '' : message.body;
  const { id, kind, asker_id, prompt_id, reason = null, truncated = false, usage = null } = run;
  return { id, kind, asker_id, prompt_id, reason, truncated, usage, text, state: live?.state ?? run.state, stopping: isOpen(run) && Boolean(room.stopping[id] ?? run.stopping) };
}

/** The answers that were asked for once more: of those nobody asks again. */
export function regenerated(messages) {
  const last = new Map();
  for (const { run, author } of messages) if (run) last.set(`${run.prompt_id} ${author.id}`, run.id);
  return new Set(messages.filter(({ run, author }) => run && last.get(`${run.prompt_id} ${author.id}`) !== run.id).map(({ run }) => run.id));
}

/**
 * `room.asks` holds, by the message they are shown at, the questions that got no answer: `{assistant_id, message_id, regenerates, state:
 * refused | waiting | asking, error, retryAt}`.
 */
export function onAsked(state, { room_id, message_id, runs = [], now }) {
  const refused = runs.filter(({ error }) => error);
  if (!refused.length) return state;
  return withRoom(state, room_id, (room) => ({
    ...room,
    asks: { ...room.asks, [message_id]: refused.map(({ assistant_id, error }) => makeAsk({ assistant_id, message_id, error, now })) },
  }));
}

const makeAsk = ({ assistant_id, message_id, regenerates = null, error, now }) =>
  ({ assistant_id, message_id, regenerates, state: 'refused', error, retryAt: now + (error?.retry_after_ms ?? 0) });

/** Changes one of the questions shown at a message; null takes it away. */
function withAsk(state, { room_id, at, assistant_id }, change) {
  return withRoom(state, room_id, (room) => {
    const others = (room.asks[at] ?? []).filter((ask) => ask.assistant_id !== assistant_id);
    const known = room.asks[at]?.find((ask) => ask.assistant_id === assistant_id);
    const next = change(known);
    if (!next && !known) return room;
    const { [at]: gone, ...asks } = room.asks;
    const all = [...others, ...(next ? [next] : [])];
    return { ...room, asks: all.length ? { ...asks, [at]: all } : asks };
  });
}

export const onAskStarted = (state, { ask, how }) =>
  withAsk(state, ask, (known) => ({ ...makeAsk({ ...ask, error: null, now: 0 }), ...known, state: how, error: known?.error ?? null }));
export const onAskRefused = (state, { ask, error, now }) => withAsk(state, ask, () => makeAsk({ ...ask, error, now }));
export const onAskDone = (state, { ask }) => withAsk(state, ask, () => null);

export const onStopping = (state, { room_id, run_id, stopping }) =>
  withRoom(state, room_id, (room) => ({ ...room, stopping: { ...room.stopping, [run_id]: stopping } }));

/** Whether somebody may stop it: who asked, and who looks after the room. */
export const mayStop = (state, room, answer, manages) => answer.asker_id === state.me?.id || manages;
