/** The clock of sessions. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { bootTime } from 'tuntap-native/tunnel';

describe('bootTime', () => {
  it('tells the milliseconds since the machine was started, as /proc/uptime does', () => {
    const uptime = (): number => 1000 * Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]);
    const [before, now, after] = [uptime(), bootTime(), uptime()];
    // uptime has hundredths of a second.
    assert.ok(now >= before - 10 && now <= after + 20, `${before} ${now} ${after}`);
  });
});
