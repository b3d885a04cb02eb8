interface Node<Item> {
  readonly item: Item;
  time: number;
  position: number;
}

/** Which of many items has to be looked at next, and when: a binary heap. */
export class DeadlineQueue<Item> {
  readonly #heap: Node<Item>[] = [];
  readonly #nodes = new Map<Item, Node<Item>>();

  /** The earliest time; infinite if there is none. */
  get next(): number {
    return this.#heap[0]?.time ?? Number.POSITIVE_INFINITY;
  }

  /**
   * Sees to it that an item is looked at by `time`. If it is in the queue for an earlier time, it stays there, so that
   * a deadline that moves on and on costs nothing.
   */
  require(item: Item, time: number): void {
    const node = this.#nodes.get(item);
    if (node) {
      if (time >= node.time) return;
      node.time = time;
      this.#moveUp(node);
    } else if (time < Number.POSITIVE_INFINITY) {
      const added = { item, time, position: this.#heap.length };
      this.#nodes.set(item, added);
      this.#heap.push(added);
      this.#moveUp(added);
    }
  }

  delete(item: Item): void {
    const node = this.#nodes.get(item);
    if (!node) return;
    this.#nodes.delete(item);
    const last = this.#heap.pop();
    if (!last || last === node) return;
    this.#put(last, node.position);
    this.#moveUp(last);
    this.#moveDown(last);
  }

  /** Takes the first item out, if its time has come. */
  take(now: number): Item | undefined {
    if (this.next > now) return undefined;
    const { item } = this.#heap[0];
    this.delete(item);
    return item;
  }

  #put(node: Node<Item>, position: number): void {
    node.position = position;
    this.#heap[position] = node;
  }

  #moveUp(node: Node<Item>): void {
    while (node.position > 0) {
      const parent = this.#heap[(node.position - 1) >> 1];
      if (parent.time <= node.time) return;
      const { position } = node;
      this.#put(node, parent.position);
      this.#put(parent, position);
    }
  }

  #moveDown(node: Node<Item>): void {
    for (;;) {
      const left = this.#heap[2 * node.position + 1];
      const right = this.#heap[2 * node.position + 2];
      const child = right && right.time < left.time ? right : left;
      if (!child || child.time >= node.time) return;
      const { position } = node;
      this.#put(node, child.position);
      this.#put(child, position);
    }
  }
}
