/** What `use` returns. Calls `undo` if that is undefined, or if it throws. */
export function attempt<T>(use: () => T | undefined, undo: () => void): T | undefined {
  let result: T | undefined;
  try {
    result = use();
    return result;
  } finally {
    if (result === undefined) undo();
  }
}
