/** hyparquet, when somebody first needs it: some MB in each thread, and a tenth of the time that loading the library takes. */
import { createRequire } from 'node:module'
import type * as Hyparquet from 'hyparquet'

const require = createRequire(import.meta.url)

export const hyparquet = (): typeof Hyparquet => require('hyparquet') as typeof Hyparquet
