// The page of a link that signs a device in: whose it is and what for, before anything is done with it.

import { api } from '../api.js';
import { DRAFTS_KEY } from '../client.js';
import { BANNED } from '../ended.js';
import { h } from './dom.js';
import { field, form } from './form.js';
import { messagePage, page } from './gate.js';
import { timeOf } from './text.js';

/** The token of the address, which from then on doesn't show it: not to who looks on, not in the history. */
export function takeToken() {
  const token = location.hash.slice(1);
  if (token) history.replaceState(null, '', location.pathname);
  return token;
}

/** `done()` once somebody is signed in by it, or would rather go on as they are. */
export async function transferPage(root, token, done) {
  if (!token) {
    messagePage(root, 'The link is not complete', 'It is taken out of the address bar as soon as it is read. Open or scan it again as a whole.', onward(done));
    return;
  }
  page(root, 'One moment…', 'Looking at the link.');
  let offer;
  let me;
  try {
    [offer, me] = await Promise.all([api.post('/transfers/look', { token }), whoIsHere()]);
  } catch (error) {
    explain(root, token, done, error);
    return;
  }
  if (offer.kind === 'recovery') passwordPage(root, token, done, offer, me);
  else devicePage(root, token, done, offer, me);
}

const whoIsHere = () => api.get('/me').catch((error) => {
  if (error.isSignedOut) return null;
  throw error;
});

function devicePage(root, token, done, { user, account, expires_at }, me) {
  const known = me?.id === user.id;
  const enter = form({
    action: `Sign in as ${user.name}`,
    fields: [],
    submit: () => redeem(token, me).then(done, (error) => explain(root, token, done, error)),
  });
  page(root, `Sign in to ${account.name}`,
    known ? `You are signed in here as ${me.name} already. The link is not used up: open it on the other device.` : `As ${user.name}, on this device.`,
    me && !known && h('p', { class: 'gate-note', id: 'signed-in-as' }, `You are signed in here as ${me.name}. Going on signs ${me.name} out of this browser.`),
    known ? [h('button', { type: 'button', class: 'button primary', on: { click: done } }, `Go on as ${me.name}`), again(enter)] : enter,
    me && !known && stay(me, done),
    h('p', { class: 'gate-foot' }, `The link works once, until ${timeOf(expires_at)}.`));
}

/** For whoever wants a session of its own. */
function again(enter) {
  const button = h('button', { type: 'button', class: 'link-button', on: { click: () => { button.replaceWith(enter); enter.querySelector('button').focus(); } } }, 'Sign in with the link all the same');
  return h('div', { class: 'gate-foot' }, button);
}

const stay = (me, done) => h('p', { class: 'gate-foot' }, h('button', { type: 'button', class: 'link-button', on: { click: done } }, `Stay signed in as ${me.name}`));

function passwordPage(root, token, done, { user, account, expires_at }, me) {
  let redeemed = false;
  page(root, 'Choose a new password', `An administrator of ${account.name} lets ${user.name} back in. With the new password you are signed in here, and signed out everywhere else.`,
    me && me.id !== user.id && h('p', { class: 'gate-note', id: 'signed-in-as' }, `You are signed in here as ${me.name}. Going on signs ${me.name} out of this browser.`),
    form({
      action: 'Save and sign in',
      fields: [
        // So that what keeps passwords knows whose it is.
        h('input', { type: 'text', name: 'username', autocomplete: 'username', value: user.name, readOnly: true, hidden: true, tabIndex: -1, 'aria-label': 'Account' }),
        field({ name: 'new_password', label: 'New password', type: 'password', required: true, minlength: 8, maxlength: 256, autocomplete: 'new-password', hint: 'At least 8 characters.' }),
      ],
      submit: async ({ new_password }) => {
        try {
          if (!redeemed) await redeem(token, me);
        } catch (error) {
          explain(root, token, done, error);
          return;
        }
        // A password that is refused leaves the link used, and the session that may set another.
        redeemed = true;
        await api.put('/me/password', { new_password });
        await done();
      },
    }),
    me && stay(me, done),
    h('p', { class: 'gate-foot' }, `The link works once, until ${timeOf(expires_at)}.`));
}

/** Whoever was signed in here is signed out first: a session that nobody holds any more would only stay in their list. */
async function redeem(token, me) {
  if (me) {
    await api.delete('/sessions/current').catch((error) => {
      if (!error.isSignedOut) throw error;
    });
    sessionStorage.removeItem(DRAFTS_KEY);
  }
  await api.post('/transfers/redeem', { token });
}

const UNKNOWN = ['This link does not work', 'It may be mistyped or cut off, or the server may know it no more. Ask for a new one.'];

const REFUSED = {
  not_found: UNKNOWN,
  invalid_payload: UNKNOWN,
  token_invalid: UNKNOWN,
  gone: ['This link is used up', 'It works once, and not for long. Make a new one where you are signed in, under Settings, “Sign in on another device”. If an administrator sent it to you, ask them for another.'],
  banned: [BANNED.title, BANNED.text],
};

function explain(root, token, done, error) {
  const [title, text] = REFUSED[error.code] ?? ['That did not work', error.message];
  messagePage(root, title, text, error.retryable ? { label: 'Try again', act: () => transferPage(root, token, done) } : onward(done));
}

const onward = (done) => ({ label: 'Go on to Hearth', act: done });
