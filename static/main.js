// Where it starts: finds out who is here, shows the right page, and routes by path.

import { api } from './api.js';
import { Client } from './client.js';
import { joinPage, messagePage, setupPage, signInPage } from './view/gate.js';
import { Shell } from './view/shell.js';

const GATES = /^\/(setup|sign-in|join\/.*)$/;
const root = document.getElementById('root');

const ENDED = {
  4500: 'Your session has expired. Please sign in again.',
  4501: 'You were signed out. Please sign in again.',
};

let returnTo = null;
let retryMs = 1_000;
let retry = null;

async function boot(notice) {
  // Whoever tried by hand isn't interrupted in the form that follows.
  clearTimeout(retry);
  const invitation = /^\/join\/([^/]+)$/.exec(location.pathname);
  try {
    const me = await api.get('/me');
    enter(me);
  } catch (error) {
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
      joinPage(root, decodeURIComponent(invitation[1]), () => boot());
    } else {
      history.replaceState(null, '', '/sign-in');
      signInPage(root, () => boot(), notice);
    }
  }
}

function enter(me) {
  if (GATES.test(location.pathname)) history.replaceState(null, '', returnTo ?? '/');
  returnTo = null;
  const client = new Client(me, {
    onSessionEnded: (code) => {
      client.stop();
      shell.close();
      boot(ENDED[code]);
    },
  });
  const shell = new Shell(root, client);
  client.start();
}

function waitForServer(error) {
  messagePage(root, 'Hearth cannot be reached', `${error.message} Trying again by itself…`, { label: 'Try now', act: () => boot() });
  retry = setTimeout(boot, retryMs);
  retryMs = Math.min(retryMs * 2, 30_000);
}

boot();
