// Why somebody is not signed in, or not any more, and what they are told. Pure.

/** What the sign-in page says to the codes of credentials that don't hold, or aren't there. */
const SIGNED_OUT = {
  unauthenticated: null,
  token_expired: 'Your session has expired. Please sign in again.',
  token_revoked: 'You were signed out. Please sign in again.',
  token_invalid: 'This browser’s sign-in is not known here any more. Please sign in again.',
};

/** What closed the socket, where it was about who one is. */
const CLOSED = { 4500: SIGNED_OUT.token_expired, 4501: SIGNED_OUT.token_revoked };

const CLOSE_OF = { token_revoked: 4501, banned: 4502 };

/** The close code that a refused handshake stands for; undefined when it says nothing about who one is. */
export const closeCodeOf = ({ code, isSignedOut }) => CLOSE_OF[code] ?? (isSignedOut ? 4500 : undefined);

/** What the sign-in page says: why the socket closed, unless the server says more exactly why. Whose account was closed was told so already. */
export const endedText = ({ code }, closed) => (closed === 4502 ? undefined : SIGNED_OUT[code] ?? CLOSED[closed]);

export const ACCOUNT_CLOSED = {
  title: 'Your account was closed',
  text: 'An administrator deactivated or banned it. What you wrote stays where it is; talk to them if this is a mistake.',
};

export const BANNED = {
  title: 'You can’t come in from here',
  text: 'Nobody is let in from the address you connect from: an administrator banned somebody who used it. Talk to them if this is a mistake.',
};
