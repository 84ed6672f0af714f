// Instructions as bytes, one method for each that the checks are made of.
import { Writer } from '../wasm/bytes.ts'
import type { ValueType } from '../wasm/module.ts'
import { F32, F64, I32, I64, V128 } from '../wasm/module.ts'
import { BITS_APART, SHADOW_APART } from './layout.ts'

/** The memories of the checked instance. */
export const SHADOW = 1
export const CONTROL = 2
export const BITS = 3

export class Emitter extends Writer {
  /** Where the branches are that are hardly ever taken (src/wasm/hints.ts), from the first byte. */
  readonly rare: number[] = []

  op(...bytes: number[]): void {
    for (const byte of bytes) this.byte(byte)
  }
  get(local: number): void {
    this.byte(0x20)
    this.u32(local)
  }
  set(local: number): void {
    this.byte(0x21)
    this.u32(local)
  }
  tee(local: number): void {
    this.byte(0x22)
    this.u32(local)
  }
  globalGet(global: number): void {
    this.byte(0x23)
    this.u32(global)
  }
  globalSet(global: number): void {
    this.byte(0x24)
    this.u32(global)
  }
  i32(value: number): void {
    this.byte(0x41)
    this.s32(value)
  }
  i64(value: bigint): void {
    this.byte(0x42)
    this.s64(value)
  }
  /** 0 of a type (of a reference: null). */
  zero(type: ValueType): void {
    if (type === I32) this.i32(0)
    else if (type === I64) this.i64(0n)
    else if (type === F32) this.op(0x43, 0, 0, 0, 0)
    else if (type === F64) this.op(0x44, 0, 0, 0, 0, 0, 0, 0, 0)
    else if (type === V128) this.op(0xfd, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    else this.op(0xd0, type)
  }
  call(func: number): void {
    this.byte(0x10)
    this.u32(func)
  }
  br(label: number): void {
    this.byte(0x0c)
    this.u32(label)
  }
  brIf(label: number): void {
    this.byte(0x0d)
    this.u32(label)
  }
  brIfRarely(label: number): void {
    this.rare.push(this.length)
    this.brIf(label)
  }
  ifRarely(type = 0x40): void {
    this.rare.push(this.length)
    this.if(type)
  }
  /** A load or store, unaligned, of a memory of ours. */
  memory(opcode: number, memory: number, offset: number): void {
    this.op(opcode, 0x40)
    this.u32(memory)
    this.u32(offset)
  }
  /** Makes of an address of the guest's, and so many bytes more, that of its shadow: any address, there is no end. */
  toShadow(more = 0): void {
    this.i32((SHADOW_APART + more) | 0)
    this.op(0x6a)
  }
  toBits(more = 0): void {
    this.i32((BITS_APART + more) | 0)
    this.op(0x6a)
  }
  /** Returns 0 if the condition on the stack holds, which is rare. */
  fail(): void {
    this.ifRarely()
    this.i32(0)
    this.op(0x0f)
    this.end()
  }
  /** Returns 1. */
  succeed(): void {
    this.i32(1)
    this.op(0x0f)
  }
  block(): void {
    this.op(0x02, 0x40)
  }
  if(type = 0x40): void {
    this.op(0x04, type)
  }
  else(): void {
    this.byte(0x05)
  }
  end(): void {
    this.byte(0x0b)
  }
}
