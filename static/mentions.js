// `@Name` in what somebody writes: which names fit what was typed so far, and which assistants a text asks. Pure.

const OF_WORD = /[\p{L}\p{N}_]/u;
const MOST = 8;
const LONGEST = 60;
const low = (text) => text.toLowerCase();
/** Whom one rather means: programs that answer come first. */
const RANK = { assistant: 0, bot: 1 };

/** The mention that is being typed before the caret: `{start, query}`, or null. */
export function mentionAt(text, caret) {
  const start = caret > 0 ? text.lastIndexOf('@', caret - 1) : -1;
  if (start < 0 || caret - start - 1 > LONGEST) return null;
  const before = text.slice(0, start);
  if (before && OF_WORD.test([...before].at(-1))) return null;
  const query = text.slice(start + 1, caret);
  return /^\s|\n/.test(query) ? null : { start, query };
}

/** Who can be addressed in a room: its members, in an open one everybody. */
export function addressable(state, room) {
  const inside = room?.members && room.kind !== 'open' ? new Set(room.members.map(({ id }) => id)) : null;
  return Object.values(state.users).filter(({ id }) => id !== state.me?.id && (!inside || inside.has(id)));
}

/** Those whose name, or a word of it, begins so; the best first. A name that stands there whole, and only it, needs no list. */
export function suggestions(users, query) {
  const wanted = low(query);
  const fits = users.filter(({ name }) => low(name).startsWith(wanted) || (!/\s/.test(wanted) && low(name).split(/\s+/).some((word) => word.startsWith(wanted))));
  if (fits.length === 1 && low(fits[0].name) === wanted) return [];
  const rank = ({ role, name }) => (RANK[role] ?? 2) + (low(name).startsWith(wanted) ? 0 : 0.5);
  return fits.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name) || a.id - b.id).slice(0, MOST);
}

/** The text with the name put in, and where the caret goes. */
export function completed(text, caret, start, name) {
  const after = text.slice(caret);
  const put = `@${name}${/^\s/.test(after) ? '' : ' '}`;
  return { text: text.slice(0, start) + put + after, caret: start + put.length + (/^\s/.test(after) ? 1 : 0) };
}

/** Whether a text mentions this name: in any case, at word borders, as the server looks for it. */
export function mentions(text, name) {
  const [haystack, needle] = [low(text), `@${low(name)}`];
  for (let at = haystack.indexOf(needle); at >= 0; at = haystack.indexOf(needle, at + 1)) {
    const [before, after] = [[...haystack.slice(0, at)].at(-1), [...haystack.slice(at + needle.length)][0]];
    if (!(before && OF_WORD.test(before)) && !(after && OF_WORD.test(after))) return true;
  }
  return false;
}

/** Whether an assistant is asked by it: by name, or because it is who one talks with. */
export function asksAssistant(state, roomId, body) {
  const room = state.rooms[roomId];
  if (room?.kind === 'direct' && room.members?.some(({ role }) => role === 'assistant')) return true;
  return body.includes('@') && Object.values(state.users).some(({ role, name }) => role === 'assistant' && mentions(body, name));
}
