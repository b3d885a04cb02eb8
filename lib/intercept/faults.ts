/** Faults that must not end the work for others. */

/**
 * Emits an event. What a listener throws is thrown later, so that nobody catches it but `'uncaughtException'`: a fault of one
 * listener must not stop the packets of all clients.
 * @returns whether there are listeners
 */
export function emitSafely(emit: () => boolean): boolean {
  try {
    return emit();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
    return true;
  }
}

/** Runs all steps, one after the other, whatever some fail with. @returns what they failed with */
export async function runAll(steps: readonly (() => unknown)[]): Promise<Error[]> {
  const failures: Error[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      failures.push(error as Error);
    }
  }
  return failures;
}
