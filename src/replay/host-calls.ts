/** Calls whose answers nobody can have again: what they were told once is no function of anything that is kept. */
export const unrepeatableCalls: ReadonlySet<string> = new Set(['clock_time_get', 'random_get', 'poll_oneoff'])
