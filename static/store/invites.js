// How an invitation stands, and what may be said of bot keys: states that follow from times and counts. Pure.

/** open | used | over | revoked – whether somebody can still come in by it. */
export function inviteState({ expires_at, max_uses, uses, revoked_at }, now) {
  if (revoked_at) return 'revoked';
  if (expires_at && Date.parse(expires_at) <= now) return 'over';
  if (max_uses && uses >= max_uses) return 'used';
  return 'open';
}

export const INVITE_STATES = { open: 'open', used: 'used up', over: 'expired', revoked: 'withdrawn' };

/** "used 2 of 5 times", "used once". */
export function usesText({ uses, max_uses }) {
  if (max_uses) return `used ${uses} of ${max_uses} ${max_uses === 1 ? 'time' : 'times'}`;
  return uses === 0 ? 'not used yet' : uses === 1 ? 'used once' : `used ${uses} times`;
}

/** The seconds of a choice of lifetimes; an empty one is no limit. */
export const seconds = (value) => (value === '' ? undefined : Number(value));
