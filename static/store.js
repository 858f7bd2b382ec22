// The one state of the client and the one pure function that changes it: `reduce(state, action)`.

import * as answers from './store/answers.js';
import { onPresence, onRoomPresence } from './store/attendance.js';
import { expireTyping, onEvent, onTyping, settleOwn, withUser } from './store/events.js';
import { onUsers } from './store/identity.js';
import { counted, dropRoom, moveRead, upsertRoom, withRoom } from './store/rooms.js';
import * as changing from './store/changing.js';
import { initialPreferences, onDrafted, onSynced, onSyncRefused, onSyncing } from './store/preferences.js';
import * as requests from './store/requests.js';
import * as sending from './store/sending.js';
import { onSessionsListed } from './store/sessions.js';
import * as subscribing from './store/subscribing.js';
import { addPage, trim } from './store/timeline.js';

export function initialState() {
  return {
    me: null, account: {}, epoch: null,
    limits: { frame_bytes: 65_536, body_bytes: 16_384, subscriptions: 200 },
    connection: { state: 'connecting' },
    rooms: {}, users: {}, presence: {}, open: null, excerptOf: null,
    sessions: null, begun: null,
    requests: [], preferences: initialPreferences(),
    outbox: [], changes: [], edits: {}, drafts: {},
    stale: { rooms: false, users: true, account: false, sessions: false },
    notice: null,
  };
}

/** Action types are `frame` for what the server says, and `subject/verb` for everything the client does or learns. */
const reducers = {
  frame: (state, { frame, now }) => onFrame(state, frame, now),
  'connection/changed': (state, { connection }) => subscribing.onConnection(state, connection),
  'rooms/asked': (state, { room_ids, request }) => subscribing.onAsked(state, room_ids, request),
  'rooms/subscribed': (state, { entries, now, request }) => entries.reduce((next, entry) => subscribing.onSubscribed(next, { entry, now, request }), state),
  'room/parked': (state, { room_id }) => withRoom(state, room_id, { link: 'parked' }),
  'rooms/unanswered': (state, { room_ids }) => room_ids.reduce(subscribing.onUnanswered, state),
  'rooms/listed': (state, { rooms, known }) => subscribing.onRoomsListed(state, rooms, known),
  'rooms/refreshing': (state) => ({ ...state, stale: { ...state.stale, rooms: false } }),
  'lists/outdated': (state, { lists }) => ({ ...state, stale: { ...state.stale, ...lists } }),
  'room/learned': (state, { room }) => upsertRoom(state, room),
  'room/left': (state, { room_id }) => dropRoom(state, room_id),
  'room/opened': (state, { room_id }) => onOpened(state, room_id),
  'room/counted': (state, { room_id, ...count }) => withRoom(state, room_id, (room) => counted(room, count, state.me)),
  'room/uncountable': (state, { room_id }) => withRoom(state, room_id, { doubt: false }),
  'read/moved': (state, { room_id, read }) => withRoom(state, room_id, (room) => moveRead(room, read, state.me)),
  'history/asked': (state, { room_id, want }) => withTimeline(state, room_id, (line) => ({ ...line, loading: want, failed: null })),
  'history/failed': (state, { room_id, want, message }) => withTimeline(state, room_id, (line) => ({ ...line, loading: null, failed: { want, message } })),
  'history/paged': (state, { room_id, ...page }) => onPage(state, room_id, page),
  'excerpt/left': (state, { room_id }) => withTimeline(state, room_id, (line) => ({ ...line, excerpt: null })),
  'users/listed': (state, { users }) => onUsers(state, users),
  'users/refreshing': (state) => ({ ...state, stale: { ...state.stale, users: false } }),
  'sessions/listed': (state, { sessions }) => onSessionsListed(state, sessions),
  'sessions/refreshing': (state) => ({ ...state, stale: { ...state.stale, sessions: false } }),
  'user/learned': (state, { user }) => withUser(state, user),
  'account/learned': (state, { account }) => ({ ...state, account: { ...state.account, ...account } }),
  'account/refreshing': (state) => ({ ...state, stale: { ...state.stale, account: false } }),
  'me/learned': (state, { me }) => ({ ...state, me: { ...state.me, ...me } }),
  'draft/typed': (state, { room_id, text }) => sending.withDraft(state, room_id, text, null, false),
  'draft/restored': (state, { drafts }) => ({ ...state, drafts: { ...drafts, ...state.drafts } }),
  'send/queued': (state, { entry }) => sending.onQueued(state, entry),
  'send/restored': (state, { entries, now }) => changing.onChangesRestored(sending.onRestored(state, entries, now), entries, now),
  'send/started': (state, { client_message_id }) => sending.onSending(state, client_message_id),
  'send/acked': (state, action) => sending.onAcked(state, action),
  'send/refused': (state, action) => sending.onRefused(state, action),
  'send/retried': (state, action) => sending.onRetry(state, action),
  'send/discarded': (state, { client_message_id }) => sending.onDiscarded(state, client_message_id),
  'send/taken-back': (state, { client_message_id }) => sending.onTakenBack(state, client_message_id),
  'edit/opened': (state, action) => changing.onEditOpened(state, action),
  'edit/typed': (state, action) => changing.onEditTyped(state, action),
  'edit/closed': (state, { message_id }) => changing.onEditClosed(state, message_id),
  'change/queued': (state, action) => changing.onChangeQueued(state, action),
  'change/started': (state, action) => changing.onChangeStarted(state, action),
  'change/acked': (state, action) => changing.onChangeAcked(state, action),
  'change/refused': (state, action) => changing.onChangeRefused(state, action),
  'answer/asked': (state, action) => answers.onAsked(state, action),
  'ask/started': (state, action) => answers.onAskStarted(state, action),
  'ask/refused': (state, action) => answers.onAskRefused(state, action),
  'ask/done': (state, action) => answers.onAskDone(state, action),
  'stop/asked': (state, action) => answers.onStopping(state, action),
  'preferences/learned': (state, action) => onSynced(state, action),
  'preferences/drafted': (state, action) => onDrafted(state, action),
  'preferences/syncing': (state, action) => onSyncing(state, action),
  'preferences/refused': (state, action) => onSyncRefused(state, action),
  'request/answered': (state, action) => requests.onAnswered(state, action),
  'request/settled': (state, action) => requests.onSettled(state, action),
  'request/dismissed': (state, { request_id }) => requests.onDismissed(state, request_id),
  'clock/ticked': (state, { now }) => requests.expire(changing.expireChanges(sending.expireOutbox(expireTyping(state, now), now), now), now),
  'notice/shown': (state, { text }) => ({ ...state, notice: text ? { text } : null }),
};

export function reduce(state, action) {
  const reducer = reducers[action.type];
  if (!reducer) throw new Error(`unknown action ${action.type}`);
  return reducer(state, action);
}

function onFrame(state, frame, now) {
  switch (frame.type) {
    case 'welcome':
      return changing.onReconnected(sending.onReconnected(subscribing.onWelcome(changing.onLogChanged(state, frame.data.epoch), frame.data)));
    case 'typing':
      return onTyping(state, frame, now);
    case 'presence':
      return onPresence(state, frame);
    case 'room.presence':
      return onRoomPresence(state, frame);
    case 'ai.state':
      return answers.onState(state, frame);
    case 'ai.delta':
      return answers.onDelta(state, frame);
    case 'action.request':
      return requests.onRequest(state, frame, now);
    case 'action.ended':
      return requests.onEnded(state, frame);
    case 'badge':
      return subscribing.onBadge(state, frame);
    case 'room.resync':
      return subscribing.onResync(state, frame);
    default:
      return Number.isInteger(frame.seq) ? onEvent(state, frame) : state;
  }
}

function withTimeline(state, roomId, change) {
  return withRoom(state, roomId, (room) => ({ ...room, timeline: change(room.timeline) }));
}

function onOpened(state, roomId) {
  const left = state.open !== null && state.open !== roomId ? withTimeline(state, state.open, (line) => trim(line)) : state;
  return withRoom({ ...left, open: roomId }, roomId, (room) => (room.link === 'parked' ? { ...room, link: 'none' } : room));
}

function onPage(state, roomId, { want, of = 'live', generation, page }) {
  const next = withTimeline(state, roomId, (line) => addPage(line, { want, of, generation, page }));
  const mine = page.messages.filter(({ author }) => author.id === state.me?.id).map(({ client_message_id }) => client_message_id);
  return settleOwn(next, roomId, mine);
}

/** Holds the state; listeners hear of every change once, after it. */
export function createStore(state = initialState()) {
  const listeners = new Set();
  return {
    get state() { return state; },
    dispatch(action) {
      const next = reduce(state, action);
      if (next === state) return;
      state = next;
      for (const listener of [...listeners]) listener(state);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
