/** What `up` shows of the peers: a line each that it keeps up to date on a terminal, messages elsewhere. */

import type { PeerInfo } from '../wireguard/index.js';

const REFRESH_MS = 1000;

/** A key that is short enough for a line. */
export function shortKey(publicKey: string): string {
  return `${publicKey.slice(0, 8)}…`;
}

/** `340 B/s`, `1.2 MB/s`. */
export function formatRate(bytesPerSecond: number): string {
  const units = ['B/s', 'kB/s', 'MB/s', 'GB/s'];
  let value = bytesPerSecond;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** `12 s`, `3 min`, `2 h`, `5 d`. */
export function formatAge(milliseconds: number): string {
  const seconds = Math.max(Math.floor(milliseconds / 1000), 0);
  if (seconds < 180) return `${seconds} s`;
  if (seconds < 3 * 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 3 * 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

/** The lines for some peers: of more than fit, those heard last. */
export class StatusLines {
  #before = new Map<string, { rx: number; tx: number }>();
  #time = 0;

  /** @param time in milliseconds since 1970 */
  render(peers: readonly PeerInfo[], time: number, rows: number, columns: number): readonly string[] {
    const seconds = (time - this.#time) / 1000;
    const sorted = peers.toSorted((a, b) => (b.latestHandshake ?? 0) - (a.latestHandshake ?? 0));
    const fits = Math.max(peers.length <= rows ? rows : rows - 1, 0);
    const table = sorted.slice(0, fits).map((peer) => {
      const { publicKey, endpoint = 'no endpoint', latestHandshake, rxBytes, txBytes } = peer;
      const { rx, tx } = this.#before.get(publicKey) ?? { rx: rxBytes, tx: txBytes };
      return [
        shortKey(publicKey),
        endpoint,
        latestHandshake ? `handshake ${formatAge(time - latestHandshake)} ago` : 'no handshake yet',
        `in ${formatRate((rxBytes - rx) / seconds)}`,
        `out ${formatRate((txBytes - tx) / seconds)}`,
      ];
    });
    this.#before = new Map(peers.map(({ publicKey, rxBytes: rx, txBytes: tx }) => [publicKey, { rx, tx }]));
    this.#time = time;
    const widths = [0, 1, 2, 3].map((column) => Math.max(0, ...table.map((row) => row[column].length)));
    const lines = table.map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  '));
    if (fits < peers.length && rows > 0) lines.push(`and ${peers.length - fits} more`);
    return lines.map((line) => line.slice(0, columns));
  }
}

/** Where `up` writes: messages stay, and on a terminal the status is below them. */
export class StatusDisplay {
  readonly #stream: NodeJS.WriteStream;
  readonly #isTerminal: boolean;
  readonly #lines = new StatusLines();
  #drawn = 0;
  #timer: NodeJS.Timeout | undefined;
  #draw: (() => void) | undefined;

  constructor(stream: NodeJS.WriteStream, env: NodeJS.ProcessEnv) {
    this.#stream = stream;
    this.#isTerminal = stream.isTTY === true && env.TERM !== 'dumb';
  }

  /** Writes a line that stays. */
  message(line: string): void {
    this.#erase();
    this.#stream.write(`${line}\n`);
    this.#draw?.();
  }

  /** On a terminal, begins to show the status. */
  start(peers: () => readonly PeerInfo[]): void {
    if (!this.#isTerminal) return;
    this.#draw = () => {
      this.#erase();
      const { rows = 24, columns = 80 } = this.#stream;
      const lines = this.#lines.render(peers(), Date.now(), rows - 1, columns - 1);
      this.#stream.write(lines.map((line) => `${line}\n`).join(''));
      this.#drawn = lines.length;
    };
    this.#draw();
    this.#timer = setInterval(this.#draw, REFRESH_MS);
  }

  /** Leaves the last status where it is. */
  stop(): void {
    clearInterval(this.#timer);
    this.#draw = undefined;
    this.#drawn = 0;
  }

  #erase(): void {
    if (this.#drawn > 0) this.#stream.write(`\x1b[${this.#drawn}A\x1b[0J`);
    this.#drawn = 0;
  }
}
