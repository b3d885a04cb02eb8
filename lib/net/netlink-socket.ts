import { type Descriptor, native } from '../native.js';
import { check, systemError } from '../system-error.js';
import {
  decodeAttributes,
  decodeMessages,
  encodeMessage,
  type NetlinkMessage,
  readI32,
  readText,
  readU32,
} from './netlink-message.js';

const NETLINK_ROUTE = 0;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLMSG_HEADER_SIZE = 16;
const NLM_F_REQUEST = 0x1;
const NLM_F_ACK = 0x4;
const NLM_F_CAPPED = 0x100;
const NLMSGERR_ATTR_MSG = 1;
// The kernel carries out a request before send(2) returns; the answer is there at once, whatever the load.
const TIMEOUT_MS = 10_000;

/** One rtnetlink conversation in one network namespace. */
export class NetlinkSocket {
  readonly #descriptor: Descriptor;
  #sequence = 0;

  /** @param namespace an nsfs fd, or -1 for the process's own namespace */
  constructor(namespace: number) {
    this.#descriptor = check(native().openNetlink(namespace, NETLINK_ROUTE), 'socket AF_NETLINK');
  }

  /**
   * Sends a request, waits for its acknowledgement and returns the messages that came before that.
   * @param operation names the request in errors, such as `set link`
   */
  request(
    operation: string,
    subject: string,
    type: number,
    flags: number,
    ...parts: readonly Buffer[]
  ): NetlinkMessage[] {
    const sequence = ++this.#sequence;
    const fd = this.#descriptor.fd();
    const message = encodeMessage(type, flags | NLM_F_REQUEST | NLM_F_ACK, sequence, ...parts);
    check(native().sendNetlink(fd, message), 'sendto AF_NETLINK', subject);
    const answers: NetlinkMessage[] = [];
    for (;;) {
      const datagram = check<Buffer>(native().receiveNetlink(fd, TIMEOUT_MS), 'recvfrom AF_NETLINK', subject);
      for (const answer of decodeMessages(datagram)) {
        if (answer.sequence !== sequence) continue;
        if (answer.type !== NLMSG_ERROR && answer.type !== NLMSG_DONE) {
          answers.push(answer);
          continue;
        }
        const errno = answer.payload.length >= 4 ? readI32(answer.payload) : 0;
        if (errno < 0) throw rtnetlinkError(errno, operation, subject, answer);
        return answers;
      }
    }
  }

  close(): void {
    this.#descriptor.close();
  }
}

function rtnetlinkError(errno: number, operation: string, subject: string, answer: NetlinkMessage): Error {
  const error = systemError(errno, 'rtnetlink', subject);
  const said = extendedAck(answer);
  error.message += ` (${operation}${said ? `: ${said}` : ''})`;
  return Object.assign(error, { operation, ...(said && { extendedAck: said }) });
}

/** The kernel's own words. The echoed request stands before them unless it was capped to its header. */
function extendedAck({ flags, payload }: NetlinkMessage): string | undefined {
  if (payload.length < 4 + NLMSG_HEADER_SIZE) return undefined;
  const echoed = flags & NLM_F_CAPPED ? NLMSG_HEADER_SIZE : readU32(payload, 4);
  const said = decodeAttributes(payload.subarray(4 + ((echoed + 3) & ~3))).get(NLMSGERR_ATTR_MSG);
  return said && readText(said);
}

/** Runs `use` with a socket in `namespace` (an nsfs fd, or -1) and closes it. */
export function withNetlink<T>(namespace: number, use: (socket: NetlinkSocket) => T): T {
  const socket = new NetlinkSocket(namespace);
  try {
    return use(socket);
  } finally {
    socket.close();
  }
}
