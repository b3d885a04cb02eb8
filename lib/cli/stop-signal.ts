/** The signals that end a command which runs until it is told to stop. */

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Waits for a signal. While the object lives, none of them ends the process by itself: cleaning up goes on. */
export interface StopSignal extends Disposable {
  /** Resolves at the first signal. */
  readonly received: Promise<void>;
  /** Aborts at the first signal. */
  readonly signal: AbortSignal;
}

export function stopSignal(): StopSignal {
  const controller = new AbortController();
  const { promise, resolve } = withResolvers();
  const onSignal = (): void => {
    controller.abort(interrupted());
    resolve();
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  return {
    received: promise,
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const name of SIGNALS) process.off(name, onSignal);
    },
  };
}

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** The reason of a signal that aborts. */
export function interrupted(): Error {
  return new Error('interrupted');
}

/** Whether an error only says that the signal has aborted. */
export function isInterruption({ aborted, reason }: AbortSignal, error: unknown): boolean {
  return aborted && (error === reason || (error instanceof Error && error.cause === reason));
}

/** Passes a signal on while `open` runs: once the tunnel is open, it must not close by itself. */
export async function unlessAborted<T>(
  signal: AbortSignal,
  open: (opening: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const opening = new AbortController();
  const abort = (): void => opening.abort(signal.reason);
  signal.addEventListener('abort', abort);
  try {
    return await open(opening.signal);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
