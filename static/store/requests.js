// What assistants and bots ask this client to do: each request once, until it is answered or its time is over. Pure.

/** How many wait at a time; the oldest make way. */
const MOST = 20;
const KINDS = new Set(['dice.roll', 'choose']);

/** Why its arguments make no sense, or null. */
export function faultOf({ kind, arguments: given }) {
  if (!KINDS.has(kind)) return 'not_supported';
  const whole = (value, low, high) => Number.isInteger(value) && value >= low && value <= high;
  if (kind === 'dice.roll') return whole(given?.count ?? 1, 1, 20) && whole(given?.sides ?? 6, 2, 1_000) ? null : 'invalid_arguments';
  const { question, options } = given ?? {};
  const texts = Array.isArray(options) && options.length > 0 && options.length <= 20 && options.every((option) => typeof option === 'string' && option);
  return typeof question === 'string' && texts ? null : 'invalid_arguments';
}

/** A request is `{request_id, kind, arguments, from, room_id, deadline, state: open | sending | done | failed | expired, answer, fault, trouble}`. */
export function onRequest(state, { data }, now) {
  const known = state.requests.find(({ request_id }) => request_id === data.request_id);
  // Offered again: an answer that is on its way, or was lost, is the same one.
  if (known) return known.answer && known.state !== 'sending' ? withRequest(state, data.request_id, { state: 'again' }) : state;
  const fault = faultOf(data);
  const request = { ...data, until: Date.parse(data.deadline) || now + 30_000, state: 'open', answer: null, fault, trouble: null };
  return { ...state, requests: [...state.requests, request].slice(-MOST) };
}

const withRequest = (state, id, change) => ({ ...state, requests: state.requests.map((one) => (one.request_id === id ? { ...one, ...change } : one)) });

/** What came of it here. The first answer stands. */
export function onAnswered(state, { request_id, answer }) {
  const known = state.requests.find((one) => one.request_id === request_id);
  return known ? withRequest(state, request_id, { answer: known.answer ?? answer, state: 'sending' }) : state;
}

/** What the server says of the answer. */
export const onSettled = (state, { request_id, state: how, trouble = null }) => withRequest(state, request_id, { state: how, trouble });

/** It is over without us: nobody waits for it any more, or somebody else answered. What is on its way is told by its own reply. */
export function onEnded(state, { data }) {
  const known = state.requests.find(({ request_id }) => request_id === data.request_id);
  return known?.state === 'open' ? withRequest(state, data.request_id, { state: data.state }) : state;
}

export const onDismissed = (state, id) => ({ ...state, requests: state.requests.filter(({ request_id }) => request_id !== id) });

/** By the clock of this machine: a little late rather than early, for the server decides. */
export function expire(state, now) {
  const late = ({ state: how, until }) => how === 'open' && now > until + 1_000;
  if (!state.requests.some(late)) return state;
  return { ...state, requests: state.requests.map((one) => (late(one) ? { ...one, state: 'expired' } : one)) };
}

/** A throw of `count` dice, each side as likely as any other: what doesn't divide evenly is thrown again. */
export function roll({ count = 1, sides = 6 }, random = (array) => crypto.getRandomValues(array)) {
  const limit = Math.floor(2 ** 32 / sides) * sides;
  return Array.from({ length: count }, () => {
    let [value] = random(new Uint32Array(1));
    while (value >= limit) [value] = random(new Uint32Array(1));
    return (value % sides) + 1;
  });
}
