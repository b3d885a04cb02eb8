/** The timers of a peer by tables of what happens and what falls due, under a virtual clock. No jitter unless told. */

import assert from 'node:assert/strict';
import { ENVIRONMENT, LIMITS } from '#dist/wireguard/environment.js';
import { type Expiry, PeerTimers } from '#dist/wireguard/timers.js';

/** What a peer does about what falls due, unless a test says that it can't. */
type Reaction = (timers: PeerTimers, expiry: Expiry, now: number) => void;

const asPeer: Reaction = (timers, expiry, now) => {
  if (expiry === 'retransmit') timers.initiationSent(now);
  if (expiry === 'keepalive') timers.keepaliveSent(now);
  if (expiry === 'dead-peer' && timers.requestInitiation(now)) timers.initiationSent(now);
};
const nothing: Reaction = () => {};

const EVENTS: Record<string, (timers: PeerTimers, now: number) => void> = {
  'data sent': (timers, now) => timers.dataSent(now),
  'keepalive sent': (timers, now) => timers.keepaliveSent(now),
  'initiation sent': (timers, now) => timers.initiationSent(now),
  'response sent': (timers, now) => timers.responseSent(now),
  'keepalive received': (timers, now) => timers.authenticReceived(now),
  'handshake received': (timers, now) => timers.authenticReceived(now),
  'data received': (timers, now) => {
    timers.authenticReceived(now);
    timers.dataReceived(now);
  },
  session: (timers, now) => timers.sessionDerived(now),
  completed: (timers) => timers.handshakeCompleted(),
  requested: (timers, now) => assert.equal(timers.requestInitiation(now), true),
  'requested in vain': (timers, now) => assert.equal(timers.requestInitiation(now), false),
  'persistent 0': (timers, now) => timers.setPersistentKeepalive(0, now),
  'persistent 5': (timers, now) => timers.setPersistentKeepalive(5000, now),
  'persistent 10': (timers, now) => timers.setPersistentKeepalive(10_000, now),
  'persistent 25': (timers, now) => timers.setPersistentKeepalive(25_000, now),
};

/** Plays events such as `0 data sent, 5 data received`, with times in seconds. @returns what fell due, up to `until` */
function play(script: string, { until = 1000, reaction = asPeer, random = 0 } = {}): string {
  const timers = new PeerTimers({ ...ENVIRONMENT, random: () => random });
  const expired: string[] = [];
  const runTo = (end: number) => {
    while (timers.nextDeadline <= end) {
      const now = timers.nextDeadline;
      const due = timers.tick(now);
      assert.ok(timers.nextDeadline > now, 'time goes on');
      for (const expiry of due) {
        expired.push(`${now / 1000} ${expiry}`);
        reaction(timers, expiry, now);
      }
    }
  };
  for (const line of script.split(', ').filter(Boolean)) {
    const [, seconds, event] = /^(\S+) (.+)$/.exec(line) ?? [];
    runTo(1000 * Number(seconds));
    EVENTS[event](timers, 1000 * Number(seconds));
  }
  runTo(1000 * until);
  return expired.join(', ');
}

/** Retransmissions from one time to another, in seconds. */
const every5 = (from: number, to: number) =>
  Array.from({ length: (to - from) / 5 + 1 }, (_, i) => `${from + 5 * i} retransmit`).join(', ');

describe('a peer’s timers', () => {
  const cases: [string, string, string, Parameters<typeof play>[1]?][] = [
    ['have nothing to do at first', '', ''],

    // Passive keepalives.
    ['answer data after 10 s', '0 data received', '10 keepalive'],
    [
      'answer data after 10 s from the first, and once again if more came meanwhile',
      '0 data received, 3 data received, 9 data received',
      '10 keepalive, 20 keepalive',
    ],
    ['answer data after a keepalive anew', '0 data received, 11 data received', '10 keepalive, 21 keepalive'],
    ['need no keepalive if data was sent', '0 data received, 4 data sent, 5 keepalive received', ''],
    ['need no keepalive if one was sent', '0 data received, 1 data received, 4 keepalive sent', ''],
    ['need no keepalive if an initiation was sent', '0 data received, 4 initiation sent, 4 completed', ''],
    ['need no keepalive if a response was sent', '0 data received, 4 response sent', ''],
    // Bug 4 of others: counted from the last send.
    ['count from what was received, not from what was sent', '0 data sent, 5 data received', '15 keepalive'],
    // Bug 3 of others: keepalives that answer keepalives, for ever.
    ['never answer a keepalive', '0 keepalive received, 1 keepalive received', ''],
    [
      'want no second keepalive where the first could not be sent',
      '0 data received, 1 data received',
      '10 keepalive',
      { reaction: nothing },
    ],

    // A peer that does not answer.
    ['give a peer 15 s for an answer', '0 data sent', '15 dead-peer', { until: 19 }],
    ['add jitter to it', '0 data sent', '15.333 dead-peer', { until: 19, random: 1 }],
    // Bug 19 of others: counted from the last receipt, or from the last message.
    [
      'count from the first message without an answer',
      '0 keepalive received, 5 data sent, 12 data sent, 19 data sent',
      '20 dead-peer',
      { until: 24 },
    ],
    ['are content with a keepalive', '0 data sent, 14 keepalive received', ''],
    ['are content with a handshake message', '0 data sent, 14 handshake received', ''],
    [
      'count anew after an answer',
      '0 data sent, 14 keepalive received, 16 data sent',
      '31 dead-peer',
      { until: 35 },
    ],
    ['expect no answer to keepalives', '0 keepalive sent, 9 keepalive sent', ''],

    // Handshakes.
    [
      'send 20 initiations, 5 s apart, then give up, and wipe after 540 s more',
      '0 requested, 0 initiation sent',
      `${every5(5, 95)}, 100 give-up, 640 wipe`,
    ],
    [
      'add jitter to each',
      '0 initiation sent',
      '5.333 retransmit, 10.666 retransmit',
      { until: 12, random: 1 },
    ],
    ['stop when the handshake completes', '0 initiation sent, 5.5 completed', '5 retransmit'],
    [
      'count anew with a new reason',
      '0 requested, 0 initiation sent, 52 requested in vain',
      `${every5(5, 145)}, 150 give-up, 690 wipe`,
    ],
    [
      'cancel the keepalive when they give up',
      '0 initiation sent, 97 data received',
      `${every5(5, 95)}, 100 give-up, 640 wipe`,
    ],
    [
      'wipe no later because they give up',
      '-408 session, 0 initiation sent',
      `${every5(5, 95)}, 100 give-up, 132 wipe`,
    ],
    [
      'begin no handshake within 5 s of an initiation',
      '0 initiation sent, 4.999 requested in vain',
      '5 retransmit',
      { until: 9 },
    ],
    ['may begin one 5 s after a response', '0 response sent, 5 requested', ''],
    [
      'begin one 5 s after a response if it was asked for earlier',
      '0 response sent, 2 requested in vain',
      '5 retransmit',
      { until: 9 },
    ],
    ['begin none if that handshake completes', '0 response sent, 2 requested in vain, 4.9 completed', ''],
    [
      'retransmit 5 s after a response that crossed the initiation',
      '0 initiation sent, 2 response sent',
      '7 retransmit',
      { until: 11 },
    ],
    [
      'do not retransmit again where no initiation can be sent',
      '0 initiation sent',
      '5 retransmit',
      { reaction: nothing },
    ],

    // Persistent keepalives.
    ['send persistent keepalives', '0 persistent 25', '25 keepalive, 50 keepalive', { until: 60 }],
    // Bug 5 of others: on a busy tunnel as well.
    [
      'send none while anything is sent or received',
      '0 persistent 25, 20 data sent, 20 keepalive received, 40 keepalive received, 60 handshake received',
      '85 keepalive',
      { until: 100 },
    ],
    [
      'go on with persistent keepalives where none can be sent',
      '0 persistent 10',
      '10 keepalive, 20 keepalive, 30 keepalive',
      { until: 35, reaction: nothing },
    ],
    [
      'send them sooner once the interval is shorter, and not when it is 0',
      '0 persistent 25, 1 persistent 5, 8 persistent 0',
      '6 keepalive',
    ],
    [
      'send one keepalive where two are due',
      '0 persistent 10, 0 data received',
      '10 keepalive, 20 keepalive',
      { until: 25 },
    ],

    // Wiping.
    ['wipe 540 s after the last session', '0 session, 100 session', '640 wipe'],
  ];
  for (const [what, script, expected, options] of cases) {
    it(what, () => assert.equal(play(script, options), expected));
  }

  // Bug 21 of others: time in suspend was not counted.
  it('do all that fell due in suspend, wiping first', () => {
    const timers = new PeerTimers({ ...ENVIRONMENT, random: () => 0 });
    timers.setPersistentKeepalive(25_000, 0);
    timers.sessionDerived(0);
    timers.dataSent(0);
    timers.dataReceived(0);
    timers.initiationSent(1000);
    timers.dataReceived(1000);
    assert.deepEqual(timers.tick(3600_000), ['wipe', 'retransmit', 'dead-peer', 'keepalive']);
  });

  it('have nothing to do once stopped, and allow an initiation at once when started', () => {
    const timers = new PeerTimers(ENVIRONMENT);
    timers.setPersistentKeepalive(25_000, 0);
    for (const event of ['data sent', 'data received', 'initiation sent', 'session'])
      EVENTS[event](timers, 0);
    timers.stop();
    assert.equal(timers.nextDeadline, Number.POSITIVE_INFINITY);
    assert.equal(timers.requestInitiation(1), true);
  });

  it('have the protocol’s limits', () => {
    const { rekeyAfterTime, rejectAfterTime, rekeyTimeout, keepaliveTimeout, cookieAge } = LIMITS;
    assert.deepEqual(
      [rekeyAfterTime, rejectAfterTime, rekeyTimeout, keepaliveTimeout, cookieAge],
      [120_000, 180_000, 5_000, 10_000, 120_000],
    );
  });
});
