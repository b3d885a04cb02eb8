import { type SystemError, systemError } from '../../system-error.js';
import { AttributeTable, attribute, defined, type Shape } from './attributes.js';
import { align, readI32, readU32 } from './bytes.js';
import { text, u32 } from './codecs.js';
import { type NetlinkMessage, NLM_F_CAPPED, NLMSG_ERROR, NLMSG_HEADER_SIZE } from './message.js';

/** The kernel's refusal of a request. Match `code`, never the text. */
export interface NetlinkError extends SystemError {
  /** The request that failed, such as `add link`. */
  operation: string;
  /** The kernel's error message, if it sent one. */
  extendedAck?: string;
  /** The attribute that the error is about, by its name in linux/*.h: `IFLA_MTU`. */
  attribute?: string;
}

/** What an error includes about its request. */
export interface RequestDescription {
  /** For people: `add link`. */
  readonly operation: string;
  /** What it is about, such as a link's name. */
  readonly subject?: string;
  /** Bytes of the family's header, before the attributes. */
  readonly headerSize: number;
  readonly table: AttributeTable<Shape>;
}

const extendedAck = new AttributeTable({
  message: attribute(1, 'NLMSGERR_ATTR_MSG', text),
  offset: attribute(2, 'NLMSGERR_ATTR_OFFS', u32),
  missingType: attribute(5, 'NLMSGERR_ATTR_MISS_TYPE', u32),
});

/** The errno of an acknowledgement or of a dump's end: 0 or negative. */
export function errnoOf({ payload }: NetlinkMessage): number {
  return payload.length >= 4 ? readI32(payload) : 0;
}

/** @param request the whole message that was sent */
export function netlinkError(
  errno: number,
  description: RequestDescription,
  request: Buffer,
  answer: NetlinkMessage,
): NetlinkError {
  const { operation, subject, headerSize, table } = description;
  const { message, offset, missingType } = extendedAck.decode(answer.payload, extendedAckStart(answer));
  const attributeName =
    offset !== undefined
      ? table.nameAt(request, offset, NLMSG_HEADER_SIZE + headerSize)
      : table.nameOf(missingType);
  const error = systemError(errno, 'rtnetlink', subject);
  const said = [message, attributeName].filter((part) => part !== undefined).join(', ');
  error.message += ` (${operation}${said && `: ${said}`})`;
  return Object.assign(error, { operation }, defined({ extendedAck: message, attribute: attributeName }));
}

/** The extended acknowledgement follows the errno, and in an acknowledgement the echoed request. */
function extendedAckStart({ type, flags, payload }: NetlinkMessage): number {
  if (type !== NLMSG_ERROR) return 4;
  if (payload.length < 4 + NLMSG_HEADER_SIZE) return payload.length;
  return 4 + align(flags & NLM_F_CAPPED ? NLMSG_HEADER_SIZE : readU32(payload, 4));
}
