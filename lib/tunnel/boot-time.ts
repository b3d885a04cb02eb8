import { native } from '../native/addon.js';

/**
 * Milliseconds since the machine started, with the time that it was suspended (CLOCK_BOOTTIME). It never goes back.
 * Node's own clocks stop while the machine is suspended, so that a key would look younger than it is.
 * @see clock_gettime(2)
 */
export function bootTime(): number {
  return native().bootTime();
}
