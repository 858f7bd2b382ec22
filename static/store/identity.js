// Who one is and who is gone: what follows from a role that changes and from people who leave. Pure.

export const ROLE_NAMES = { admin: 'administrator', member: 'member', guest: 'guest', bot: 'bot', assistant: 'assistant' };

const WITH_ARTICLE = { admin: 'an administrator', member: 'a member', guest: 'a guest' };

/** What the server says of oneself. With another role there is another account, other people and other rooms to see. */
export function onSelf(state, user) {
  const was = state.me?.role;
  const next = { ...state, me: { ...state.me, ...user } };
  if (!was || !user.role || was === user.role) return next;
  const { join_code, ...account } = state.account;
  return {
    ...next,
    account,
    stale: { ...state.stale, rooms: true, users: true, account: true },
    notice: { text: `You are ${WITH_ARTICLE[user.role] ?? ROLE_NAMES[user.role] ?? user.role} here now.` },
  };
}

/** Deactivated or banned: among the people no more. What they wrote keeps their name. */
export function onUserLeft(state, { user_id }) {
  if (!state.users[user_id] || user_id === state.me?.id) return state;
  const { [user_id]: gone, ...users } = state.users;
  const { [user_id]: dark, ...presence } = state.presence;
  return { ...state, users, presence };
}

/**
 * The list of people read anew. Whoever is not in the commons hears no presence and no changes of the list: what is
 * in it then is all that is known.
 */
export function onUsers(state, listed) {
  const users = {};
  const presence = {};
  for (const { presence: one, ...user } of listed) {
    users[user.id] = user;
    if (one && one !== 'offline') presence[user.id] = one;
  }
  const next = { ...state, users, stale: { ...state.stale, users: false } };
  return hearsOfAll(state) ? next : { ...next, presence };
}

/** Whether the commons are among one's rooms: guests don't have them. */
export const hearsOfAll = (state) => Object.values(state.rooms).some(({ kind }) => kind === 'commons');
