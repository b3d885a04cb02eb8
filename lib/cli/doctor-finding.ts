/** One line of `doctor`. */
export interface Finding {
  /** What was looked at, in a word or two. */
  readonly check: string;
  /** `'warn'`: a part of the package can't work. `'fail'`: all of it can't. */
  readonly status: 'ok' | 'warn' | 'fail';
  /** What was found, and what that means. */
  readonly detail: string;
  /** What to do. */
  readonly advice?: string;
}
