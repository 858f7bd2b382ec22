// One room's history as this client holds it: contiguous by seq, healed when torn, each message once. Pure.

const MAX_EARLY = 1_000;

/**
 * `seq`: the last event applied without a hole (null before the first subscription). `from`: every event above it has been seen.
 * `live`: the messages up to the head. `excerpt`: messages around a linked one, until they meet the live ones.
 * `patches`: edits and deletions seen, because a page may have been read before them; `ends`: how answers ended, for the same reason.
 * `generation` outdates pages in flight.
 */
export function emptyTimeline(seq = null, generation = 0) {
  return {
    generation, seq, from: seq, early: {}, patches: {}, ends: {}, loading: null, failed: null,
    live: { messages: [], loaded: false, older: true }, excerpt: null,
  };
}

export const resetAt = (line, seq) => emptyTimeline(seq, line.generation + 1);

/** Takes one event: `applied` are those that are in order by it; `torn` says that some before it are missing. */
export function receive(line, event) {
  if (line.seq === null || event.seq <= line.seq) return { line, applied: [], torn: false };
  if (event.seq > line.seq + 1) {
    const full = Object.keys(line.early).length >= MAX_EARLY;
    return { line: full ? line : { ...line, early: { ...line.early, [event.seq]: event } }, applied: [], torn: true };
  }
  const early = { ...line.early };
  const applied = [event];
  delete early[event.seq];
  for (let seq = event.seq + 1; early[seq]; seq++) {
    applied.push(early[seq]);
    delete early[seq];
  }
  return { line: applied.reduce(apply, { ...line, early }), applied, torn: Object.keys(early).length > 0 };
}

function apply(line, event) {
  const next = { ...line, seq: event.seq };
  switch (event.type) {
    case 'message.posted': {
      const { id, room_id, seq, at, data } = event;
      return put(next, { id, room_id, seq, at, edited_at: null, ...data });
    }
    case 'message.edited': {
      const { message_id, body, version } = event.data;
      return patch(next, message_id, { body, version, edited_at: event.at });
    }
    case 'message.deleted':
      return patch(next, event.data.message_id, { deleted: true });
    case 'ai.ended': {
      const { message_id, body, state, reason, truncated, usage } = event.data;
      return body === null ? next : end(next, message_id, { body, run: { state, reason, truncated, usage } });
    }
    default:
      return next;
  }
}

/** A message known from an ack before its event came. What is already covered by events needs no help. */
export function confirm(line, message) {
  return line.seq !== null && message.seq <= line.seq ? line : put(line, message);
}

/** What an answer to an edit or a fetched message says about a message that may be shown. */
export function correct(line, { id, body, version, edited_at }) {
  return patch(line, id, { body, version, edited_at });
}

export function forget(line, messageId) {
  return patch(line, messageId, { deleted: true });
}

/** Merges one page of REST history. `want` is newest | older | newer | around; `of` is the window it was asked for. */
export function addPage(line, { want, of, generation, page }) {
  if (generation !== line.generation) return line;
  const next = { ...line, loading: null, failed: null };
  // A page read before the subscription began could lack what lies between: it is asked again.
  if (page.head < line.from) return next;
  const messages = page.messages.map((message) => patched(line, message)).filter(Boolean);
  if (want === 'around') return join({ ...next, excerpt: { messages: merge([], messages), older: true, newer: true } });
  const window = next[of];
  if (!window) return next;
  const merged = { ...window, messages: merge(window.messages, messages) };
  if (want === 'newer') merged.newer = page.next !== null && page.messages.length > 0;
  else {
    merged.older = page.next !== null && page.messages.length > 0;
    merged.loaded = true;
  }
  return join({ ...next, [of]: merged });
}

/** Once the excerpt reaches the live messages they are one window. */
function join(line) {
  const { live, excerpt } = line;
  if (!excerpt || !live.loaded) return line;
  const meets = !excerpt.newer || (live.messages.length > 0 && excerpt.messages.at(-1)?.id >= live.messages[0].id);
  if (!meets) return line;
  const older = excerpt.messages[0]?.id < (live.messages[0]?.id ?? Infinity) ? excerpt.older : live.older;
  return { ...line, excerpt: null, live: { ...live, older, messages: merge(excerpt.messages, live.messages) } };
}

/** Keeps a room that is not on screen small. */
export function trim(line, keep = 200) {
  const { live } = line;
  if (live.messages.length <= keep && !line.excerpt) return line;
  const cut = live.messages.length > keep;
  return {
    ...line, excerpt: null, loading: null, generation: line.generation + 1,
    live: { ...live, messages: live.messages.slice(-keep), older: cut || live.older },
  };
}

/** From which seq on the live window is known to hold every message. */
export function knownFrom({ live, from }) {
  if (!live.loaded) return from ?? Infinity;
  return live.older ? live.messages[0]?.seq ?? Infinity : 0;
}

export function find(line, messageId) {
  const search = (messages) => messages[indexOf(messages, messageId)];
  const hit = search(line.live.messages);
  if (hit?.id === messageId) return hit;
  const other = line.excerpt && search(line.excerpt.messages);
  return other?.id === messageId ? other : null;
}

/** Ids and seqs grow together within a room, so messages sorted by id are in the order of the room. */
function indexOf(messages, id) {
  let low = 0;
  let high = messages.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (messages[middle].id < id) low = middle + 1;
    else high = middle;
  }
  return low;
}

function put(line, message) {
  const fresh = patched(line, message);
  return fresh ? { ...line, live: { ...line.live, messages: merge(line.live.messages, [fresh]) } } : line;
}

function merge(messages, more) {
  const merged = [...messages];
  for (const message of more) {
    const index = indexOf(merged, message.id);
    const present = merged[index];
    if (present?.id !== message.id) merged.splice(index, 0, message);
    else if (message.version > present.version) merged[index] = message;
  }
  return merged;
}

function patch(line, messageId, change) {
  const known = line.patches[messageId];
  const stale = known && (known.deleted || (!change.deleted && known.version >= change.version));
  return renew(stale ? { ...line } : { ...line, patches: { ...line.patches, [messageId]: change } }, messageId);
}

/** An answer is over: from now on the message has that text. */
const end = (line, messageId, ending) => renew({ ...line, ends: { ...line.ends, [messageId]: ending } }, messageId);

/** Shows what is known of a message now. */
function renew(line, messageId) {
  const next = { ...line };
  for (const name of ['live', 'excerpt']) {
    const window = next[name];
    const index = window ? indexOf(window.messages, messageId) : 0;
    if (window?.messages[index]?.id !== messageId) continue;
    const fresh = patched(next, window.messages[index]);
    next[name] = { ...window, messages: [...window.messages.slice(0, index), ...(fresh ? [fresh] : []), ...window.messages.slice(index + 1)] };
  }
  return next;
}

function patched(line, message) {
  const change = line.patches[message.id];
  const ending = line.ends[message.id];
  if (change?.deleted) return null;
  const ended = ending && message.run ? { ...message, body: message.version > 1 ? message.body : ending.body, run: { ...message.run, ...ending.run } } : message;
  return change && change.version > ended.version ? { ...ended, ...change } : ended;
}
