// The devices one is signed in on: what a new one is called, and what begins and ends while this page looks on. Pure.

/** `[mark in the User-Agent, name]`, the more particular first: every Edge says Chrome, and every Chrome says Safari. */
const BROWSERS = [['Edg', 'Edge'], ['OPR/', 'Opera'], ['SamsungBrowser', 'Samsung Internet'], ['Firefox', 'Firefox'], ['FxiOS', 'Firefox'], ['CriOS', 'Chrome'], ['Chrom', 'Chrome'], ['Safari', 'Safari']];
const SYSTEMS = [['Android', 'Android'], ['iPhone', 'iPhone'], ['iPad', 'iPad'], ['Windows', 'Windows'], ['Mac OS', 'macOS'], ['CrOS', 'ChromeOS'], ['Linux', 'Linux']];

/** What a person would call the browser behind a `User-Agent`; other programs keep the name they gave themselves. */
export function nameOfDevice(agent) {
  const known = (list) => list.find(([mark]) => (agent ?? '').includes(mark))?.[1];
  const browser = known(BROWSERS);
  const system = known(SYSTEMS);
  if (browser && system) return `${browser} on ${system}`;
  return browser ?? ((agent ?? '').trim().slice(0, 60) || 'Unknown device');
}

const WAYS = {
  password: 'with the password',
  setup: 'by setting up Hearth',
  join: 'by joining',
  transfer: 'by a link from another device',
  recovery: 'by a link from an administrator',
  tokens: 'as a program, with tokens',
};

/** How a session began, to go after "signed in". */
export const wayOf = ({ begun_by }) => WAYS[begun_by] ?? '';

/** This device first, then the one used last. */
const inOrder = (sessions) =>
  [...sessions].sort((a, b) => Boolean(b.current) - Boolean(a.current) || (b.last_active_at ?? b.created_at).localeCompare(a.last_active_at ?? a.created_at) || b.id - a.id);

/** `state.sessions` is null until somebody asks for them. */
export const onSessionsListed = (state, sessions) => ({ ...state, sessions: inOrder(sessions) });

/** Shown at once from the event; what the event doesn't say, the list is asked for. */
export function onSessionBegun(state, { session }) {
  if (state.sessions?.some(({ id, current }) => id === session.id && current)) return state;
  const others = state.sessions?.filter(({ id }) => id !== session.id);
  return {
    ...state,
    begun: session,
    sessions: others ? inOrder([...others, session]) : null,
    stale: { ...state.stale, sessions: true },
    notice: {
      text: `A device signed in as you ${wayOf(session)}: ${nameOfDevice(session.device)}.`.replace('  ', ' '),
      link: { href: '/settings', text: 'See your devices' },
    },
  };
}

export function onSessionEnded(state, { session_id }) {
  if (!state.sessions?.some(({ id }) => id === session_id)) return state;
  return { ...state, sessions: state.sessions.filter(({ id }) => id !== session_id) };
}
