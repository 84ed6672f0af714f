// Calls of the host in a JavaScript program: it may call functions of the guest's, by exports or the table, and catch what they throw. Then
// nobody has left them, and what they would have put back is put back here.
import { I32 } from '../wasm/module.ts'
import type { Context } from './context.ts'
import type { Emitter } from './emitter.ts'
import type { Locals } from './values.ts'

/** Before the call. */
export function leaveToHost(out: Emitter, context: Context, locals: Locals): void {
  const { helpers, calls, hostCalls, tags, liveTags } = context
  out.call(helpers.clear)
  out.globalGet(hostCalls)
  out.set(locals.named('host calls', I32))
  out.globalGet(calls)
  out.globalSet(hostCalls)
  out.globalGet(tags)
  out.set(locals.named('host tags', I32))
  out.globalGet(liveTags)
  out.set(locals.named('host live', I32))
}

/** Behind it. */
export function backFromHost(out: Emitter, context: Context, locals: Locals): void {
  const { calls, hostCalls, tags, liveTags } = context
  out.get(locals.named('host calls', I32))
  out.globalSet(hostCalls)
  out.get(locals.named('calls', I32))
  out.i32(4)
  out.op(0x6a)
  out.globalSet(calls)
  out.get(locals.named('host tags', I32))
  out.globalSet(tags)
  out.get(locals.named('host live', I32))
  out.globalSet(liveTags)
}
