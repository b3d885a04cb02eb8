import { parseIp } from '../address.js';
import { Icmpv4Packet, Icmpv6Packet } from '../packet/icmp.js';
import { Ipv4Packet } from '../packet/ipv4.js';
import { Ipv6Packet } from '../packet/ipv6.js';
import { replyToEcho } from '../packet/reply.js';

/** An ICMP echo request ("ping") of a client. If you don't answer it, it was sent in vain. */
export class InterceptedEcho {
  /** The address of the client. */
  readonly source: string;
  /** The address that it asked. */
  readonly destination: string;
  /** 4 or 6. */
  readonly family: 4 | 6;
  /** Which `ping` it belongs to. */
  readonly identifier: number;
  /** Its number in the series. */
  readonly sequence: number;
  /** What the answer repeats. */
  readonly payload: Buffer;
  readonly #send: () => void;

  private constructor(reply: Buffer, send: (reply: Buffer) => void) {
    const packet = reply[0] >> 4 === 4 ? new Ipv4Packet(reply) : new Ipv6Packet(reply);
    const message =
      packet instanceof Ipv4Packet ? new Icmpv4Packet(packet.payload) : new Icmpv6Packet(packet.payload);
    this.source = packet.destination;
    this.destination = packet.source;
    this.family = parseIp(packet.source).length === 4 ? 4 : 6;
    this.identifier = message.identifier;
    this.sequence = message.sequence;
    this.payload = message.payload;
    this.#send = () => send(reply);
  }

  /**
   * The echo request that a packet is; undefined for any other packet.
   * @internal
   */
  static of(packet: Uint8Array, send: (reply: Buffer) => void): InterceptedEcho | undefined {
    const reply = replyToEcho(packet);
    return reply && new InterceptedEcho(reply, send);
  }

  /** Answers it, as the host that it was sent to would. */
  reply(): void {
    this.#send();
  }
}
