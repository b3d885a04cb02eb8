/** What is counted of a peer, and the line of text that it becomes. */

/** Of one direction. */
class Flow {
  packets = 0;
  bytes = 0;
}

export class Traffic {
  readonly received = new Flow();
  readonly sent = new Flow();
  /** Packets that are not authentic. */
  forged = 0;
  /** Authentic packets that had come before, or are too old to tell. */
  replayed = 0;
  /** Packets from an inner address that is not the peer's. */
  spoofed = 0;
  /** Packets for the peer that were dropped: there was no session, or the socket's queue was full. */
  dropped = 0;
  /** Handshake messages that are not authentic, or not newer than the last. */
  refused = 0;
  handshakes = 0;
}

/** Makes lines such as `alice  in 12.3 Mbit/s, 1.2 GB  out …`, with the rates since the line before. */
export class Statistics {
  readonly #traffic: Traffic;
  #at = performance.now();
  #received = 0;
  #sent = 0;

  constructor(traffic: Traffic) {
    this.#traffic = traffic;
  }

  line(): string {
    const { received, sent, forged, replayed, spoofed, dropped, refused, handshakes } = this.#traffic;
    const now = performance.now();
    const seconds = Math.max((now - this.#at) / 1000, 1e-3);
    const rate = (bytes: number) => scaled((8 * bytes) / seconds, 'bit/s');
    const text =
      `in ${rate(received.bytes - this.#received)}, ${scaled(received.bytes, 'B')}, ${received.packets} packets; ` +
      `out ${rate(sent.bytes - this.#sent)}, ${scaled(sent.bytes, 'B')}, ${sent.packets} packets; ` +
      `handshakes ${handshakes}, refused ${refused}, forged ${forged}, replayed ${replayed}, ` +
      `spoofed ${spoofed}, dropped ${dropped}`;
    this.#at = now;
    this.#received = received.bytes;
    this.#sent = sent.bytes;
    return text;
  }
}

function scaled(value: number, unit: string): string {
  const steps = ['', 'k', 'M', 'G', 'T'];
  let step = 0;
  while (value >= 1000 && step < steps.length - 1) {
    value /= 1000;
    step++;
  }
  return `${step === 0 ? Math.round(value) : value.toFixed(2)} ${steps[step]}${unit}`;
}
