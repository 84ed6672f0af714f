/**
 * Kernels for whoever is at work. A lens over a lens calls for one while another is busy, so there are as many as
 * lenses are composed, each made once.
 */
export class Pool<T> {
  readonly #make: () => T
  readonly #free: T[] = []

  constructor(make: () => T) {
    this.#make = make
  }

  take(): T {
    return this.#free.pop() ?? this.#make()
  }

  give(kernel: T): void {
    this.#free.push(kernel)
  }
}
