/**
 * Pages that are on their way out: neighbours go with one call to the kernel, which makes the other processors forget them. Until
 * `flush` they are there and counted; nobody asks for them before, because one thread does all of this.
 */
export interface Dropping {
  /** Gives back pages [from, to), which are in one state, and protected. */
  drop(from: number, to: number): void
}

export class Drops {
  #owner: Dropping | undefined
  #state = 0
  #from = 0
  #to = 0

  /** Pages [from, to), all of them in `state`, have to go. */
  add(owner: Dropping, state: number, from: number, to: number): void {
    if (owner === this.#owner && state === this.#state && from === this.#to) {
      this.#to = to
      return
    }
    this.flush()
    this.#owner = owner
    this.#state = state
    this.#from = from
    this.#to = to
  }

  /** From now on they are gone. */
  flush(): void {
    const owner = this.#owner
    this.#owner = undefined
    owner?.drop(this.#from, this.#to)
  }
}
