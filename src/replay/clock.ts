/** CPU time of the calling thread where that is to be had, else the clock; milliseconds. */
export const threadTime: () => number = (() => {
  const own = (process as unknown as { threadCpuUsage?: () => { user: number; system: number } })
    .threadCpuUsage
  if (own === undefined) return () => performance.now()
  return () => {
    const { user, system } = own.call(process)
    return (user + system) / 1000
  }
})()
