// Where it starts: finds out who is here, shows the right page, and routes by path.

import { api } from './api.js';
import { Client } from './client.js';
import { ACCOUNT_CLOSED, BANNED, endedText } from './ended.js';
import { joinPage, messagePage, setupPage, signInPage } from './view/gate.js';
import { Shell } from './view/shell.js';
import { takeToken, transferPage } from './view/transfer.js';

const GATES = /^\/(setup|sign-in|transfer|join\/.*)$/;
const root = document.getElementById('root');

let returnTo = null;
let retryMs = 1_000;
let retry = null;

/** `closed` is the code that the socket was closed with, where that is why; `joined`: whoever is here came in by the invitation just now. */
async function boot(closed, joined = false) {
  // Whoever tried by hand isn't interrupted in the form that follows.
  clearTimeout(retry);
  if (location.pathname === '/transfer') {
    transferPage(root, takeToken(), () => {
      history.replaceState(null, '', '/');
      boot();
    });
    return;
  }
  const invitation = /^\/join\/([^/]+)$/.exec(location.pathname);
  try {
    const me = await api.get('/me');
    enter(me, Boolean(invitation) && !joined);
  } catch (error) {
    if (error.code === 'banned') {
      messagePage(root, BANNED.title, BANNED.text, { label: 'Try again', act: () => boot() });
      return;
    }
    if (!error.isSignedOut) {
      waitForServer(error);
      return;
    }
    if (!GATES.test(location.pathname)) returnTo = location.pathname;
    const { needed } = await api.get('/setup').catch(() => ({ needed: false }));
    if (needed) {
      history.replaceState(null, '', '/setup');
      setupPage(root, () => boot());
    } else if (invitation) {
      // As it stands in the address: what is no code is for the server to say.
      joinPage(root, invitation[1], () => boot(undefined, true));
    } else {
      history.replaceState(null, '', '/sign-in');
      signInPage(root, () => boot(), endedText(error, closed));
    }
  }
}

/** `invited`: whoever is here already opened an invitation. */
function enter(me, invited) {
  if (GATES.test(location.pathname)) history.replaceState(null, '', returnTo ?? '/');
  returnTo = null;
  const client = new Client(me, {
    onSessionEnded: (code) => {
      client.stop();
      shell.close();
      if (code === 4502) messagePage(root, ACCOUNT_CLOSED.title, ACCOUNT_CLOSED.text, { label: 'Go to sign-in', act: () => boot(code) });
      else boot(code);
    },
  });
  const shell = new Shell(root, client);
  client.start();
  if (invited) client.notify(`You are in already, as ${me.name}. The invitation is not used up by it.`);
}

function waitForServer(error) {
  messagePage(root, 'Hearth cannot be reached', `${error.message} Trying again by itself…`, { label: 'Try now', act: () => boot() });
  retry = setTimeout(boot, retryMs);
  retryMs = Math.min(retryMs * 2, 30_000);
}

// Another link that is opened while the page of one is shown changes nothing but the part of the address that no server sees.
addEventListener('hashchange', () => location.pathname === '/transfer' && location.hash && boot());

boot();
