/**
 * Whether a function is pure, from its source: what it makes depends on its arguments alone, and it changes nothing that is
 * there after it.
 *
 * The rule is a list of what may be: its own variables, and of the language's global objects those members that compute.
 * All else is refused with the line and the reason: other free variables, clocks, randomness, input and output, changes of
 * arguments that are shared or of global objects, async functions and generators, `this`, code from strings. A key in
 * brackets must surely be a number, because through other keys all of the language can be reached.
 *
 * Whether the function ends can't be decided, nor whether it throws.
 */
import { createHash } from 'node:crypto'
import { parseSync } from 'oxc-parser'
import { child, children, isFunction, type Kind, list, Names, part, type SyntaxNode, text } from './scopes.ts'

/** Why a function is not pure, and where: `line` is from 1, of the function's own source. */
export interface Impurity {
  readonly line: number
  readonly reason: string
  /** The line itself. */
  readonly code: string
}

const TYPED_ARRAYS = [
  'Uint8Array',
  'Int8Array',
  'Uint8ClampedArray',
  'Uint16Array',
  'Int16Array',
  'Uint32Array',
  'Int32Array',
  'BigUint64Array',
  'BigInt64Array',
  'Float32Array',
  'Float64Array',
]

/** Members of global objects that may be called or read; an object that is not here may not be looked into. */
const MEMBERS: Readonly<Record<string, RegExp>> = {
  Math: /^(?!random$)[A-Za-z0-9_]+$/,
  Number: /^(?:is[A-Z][A-Za-z]*|parse[A-Z][a-z]*|[A-Z_]+)$/,
  BigInt: /^as(?:Int|Uint)N$/,
  String: /^from(?:CharCode|CodePoint)$/,
  Array: /^(?:from|of|isArray)$/,
  Object: /^(?:keys|values|entries|fromEntries|is)$/,
  JSON: /^(?:parse|stringify)$/,
  ArrayBuffer: /^isView$/,
  ...Object.fromEntries(TYPED_ARRAYS.map(name => [name, /^(?:from|of|BYTES_PER_ELEMENT)$/])),
}
/** The last is what some compilers put around functions so that they keep their names. */
const CALLED = new Set([
  'Number',
  'BigInt',
  'String',
  'Boolean',
  'Array',
  'parseInt',
  'parseFloat',
  'isNaN',
  'isFinite',
  '__name',
])
const ERRORS = ['Error', 'RangeError', 'TypeError']
const MADE = new Set([
  ...TYPED_ARRAYS,
  ...ERRORS,
  'DataView',
  'ArrayBuffer',
  'Map',
  'Set',
  'Array',
  'TextDecoder',
  'TextEncoder',
])
const VALUES = new Set(['undefined', 'NaN', 'Infinity'])

/** Members through which a function reaches what is not its own, or what differs from machine to machine. */
const BANNED =
  /^(?:constructor|prototype|__.*__|caller|callee|arguments|stack|localeCompare|toLocale[A-Za-z]*)$/

const CLOCK = 'reads the clock'
const IO = 'is input or output'
const HIDES = 'can reach anything'
const REASONS: Readonly<Record<string, string>> = {
  Date: CLOCK,
  performance: CLOCK,
  Temporal: CLOCK,
  crypto: 'is random',
  console: IO,
  process: IO,
  require: IO,
  fetch: IO,
  navigator: IO,
  setTimeout: 'does something later',
  setInterval: 'does something later',
  setImmediate: 'does something later',
  queueMicrotask: 'does something later',
  Promise: 'is asynchronous',
  globalThis: 'is global state',
  global: 'is global state',
  window: 'is global state',
  self: 'is global state',
  eval: 'runs code that is not there to be looked at',
  Function: 'runs code that is not there to be looked at',
  Intl: "depends on the machine's language",
  Reflect: HIDES,
  Proxy: HIDES,
  Symbol: HIDES,
  WeakRef: 'depends on garbage collection',
  FinalizationRegistry: 'depends on garbage collection',
  SharedArrayBuffer: 'is shared with other threads',
  Atomics: 'is shared with other threads',
  arguments: 'hides what it is given; name the parameters',
  Buffer: 'may share memory with others; use Uint8Array and TextDecoder',
}

const SYNTAX: Readonly<Record<string, string>> = {
  ThisExpression: "'this' is not an argument",
  Super: "'super' is not an argument",
  MetaProperty: 'it looks at how it was called or loaded',
  ImportExpression: 'import() loads code',
  AwaitExpression: 'await waits for something',
  YieldExpression: 'yield stops in the middle',
  ClassDeclaration: 'a class is more than a function; use plain functions',
  ClassExpression: 'a class is more than a function; use plain functions',
  TaggedTemplateExpression: 'a tagged template keeps state between calls',
  DebuggerStatement: 'debugger stops the pager',
}

const PLAIN =
  /^(?:Program|ExpressionStatement|ParenthesizedExpression|ObjectExpression|ArrayExpression|Property|SpreadElement|Literal|TemplateLiteral|TemplateElement|Identifier|FunctionExpression|FunctionDeclaration|ArrowFunctionExpression|BlockStatement|EmptyStatement|ReturnStatement|IfStatement|ForStatement|ForOfStatement|ForInStatement|WhileStatement|DoWhileStatement|SwitchStatement|SwitchCase|BreakStatement|ContinueStatement|LabeledStatement|ThrowStatement|TryStatement|CatchClause|VariableDeclaration|VariableDeclarator|AssignmentExpression|AssignmentPattern|ArrayPattern|ObjectPattern|RestElement|UnaryExpression|BinaryExpression|LogicalExpression|ConditionalExpression|UpdateExpression|SequenceExpression|CallExpression|NewExpression|MemberExpression|ChainExpression)$/

/** What the proof that something is a number relies on. */
const METHODS = /^(?:read|subarray|slice|map|filter|fill|set|toReversed|toSorted|with|get.+)$/

/** The first thing, in the order of the text, that makes a function impure. */
class Check {
  readonly names: Names
  found: { readonly at: number; readonly reason: string } | undefined

  constructor(names: Names) {
    this.names = names
  }

  refuse(node: SyntaxNode, reason: string): void {
    if (!this.found || node.start < this.found.at) this.found = { at: node.start, reason }
  }

  visit(node: SyntaxNode): void {
    const reason = SYNTAX[node.type]
    if (reason !== undefined) return this.refuse(node, reason)
    if (!PLAIN.test(node.type)) return this.refuse(node, `${node.type} is not understood`)
    if (isFunction(node)) this.#function(node)
    else if (node.type === 'MemberExpression') return this.#member(node)
    else if (node.type === 'CallExpression' || node.type === 'NewExpression') return this.#call(node)
    else if (node.type === 'Property') return this.#property(node)
    else if (node.type === 'Identifier') return this.#identifier(node)
    else if (node.type === 'AssignmentExpression') this.#target(child(node, 'left'))
    else if (node.type === 'ForOfStatement' || node.type === 'ForInStatement') this.#each(node)
    else if (node.type === 'UpdateExpression') this.#target(child(node, 'argument'))
    else if (node.type === 'UnaryExpression' && text(node, 'operator') === 'delete')
      this.#target(child(node, 'argument'))
    else if (node.type === 'BinaryExpression' && this.#instance(node))
      return this.visit(child(node, 'left') ?? node)
    for (const each of children(node)) if (each !== part(node, 'label')) this.visit(each)
  }

  #each(node: SyntaxNode): void {
    if (part(node, 'await') === true) this.refuse(node, 'for await waits for something')
    const left = child(node, 'left')
    if (left?.type !== 'VariableDeclaration') this.#target(left)
  }

  #function(node: SyntaxNode): void {
    if (part(node, 'async') === true) this.refuse(node, 'an async function waits for something')
    if (part(node, 'generator') === true) this.refuse(node, 'a generator stops in the middle')
  }

  #global(node: SyntaxNode | undefined): string | undefined {
    return node?.type === 'Identifier' && !this.names.variables.has(node) ? text(node, 'name') : undefined
  }

  #identifier(node: SyntaxNode): void {
    const name = this.#global(node)
    if (name === undefined || VALUES.has(name)) return
    const known = REASONS[name]
    if (known !== undefined) this.refuse(node, `${name} ${known}`)
    else if (MADE.has(name) || CALLED.has(name) || name in MEMBERS)
      this.refuse(
        node,
        `${name} itself may not be handed on; call it here, in a function of your own if need be`,
      )
    else
      this.refuse(
        node,
        `${name} is a free variable: the function runs in another thread, where there is none; give what it needs as constants`,
      )
  }

  #instance(node: SyntaxNode): boolean {
    const name = this.#global(child(node, 'right'))
    return text(node, 'operator') === 'instanceof' && name !== undefined && MADE.has(name)
  }

  #member(node: SyntaxNode): void {
    const object = child(node, 'object')
    const property = child(node, 'property')
    if (!object || !property) return
    const global = this.#global(object)
    const computed = part(node, 'computed') === true
    if (computed) this.#key(property)
    else this.#name(property, text(property, 'name'))
    if (global === undefined || VALUES.has(global)) return this.visit(object)
    const allowed = MEMBERS[global]
    const name = text(property, 'name')
    if (global === 'Math' && name === 'random') this.refuse(node, 'Math.random() is random')
    else if (!allowed) this.#identifier(object)
    else if (computed || !allowed.test(name))
      this.refuse(node, `${global}${computed ? '[…]' : `.${name}`} is not known to be pure`)
  }

  #name(node: SyntaxNode, name: string): void {
    if (BANNED.test(name)) this.refuse(node, `.${name} ${HIDES} that is not an argument`)
  }

  /** What stands in brackets. */
  #key(node: SyntaxNode): void {
    const value = node.type === 'Literal' ? part(node, 'value') : undefined
    if (typeof value === 'string') this.#name(node, value)
    else if (!this.names.is(node, 'number'))
      this.refuse(
        node,
        'a key that may be any name can reach anything; if it is a number, write [key | 0] or [Number(key)]',
      )
    this.visit(node)
  }

  #call(node: SyntaxNode): void {
    const callee = child(node, 'callee')
    const global = this.#global(callee)
    const allowed = node.type === 'NewExpression' ? MADE : CALLED
    const isKnown = global !== undefined && (allowed.has(global) || ERRORS.includes(global))
    if (callee && !isKnown) this.visit(callee)
    for (const argument of list(node, 'arguments')) this.visit(argument)
  }

  #property(node: SyntaxNode): void {
    const key = child(node, 'key')
    const value = child(node, 'value')
    if (key && part(node, 'computed') === true) this.#key(key)
    else if (key) this.#name(key, text(key, 'name') || String(part(key, 'value') ?? ''))
    if (value) this.visit(value)
  }

  /** What is assigned to must be its own. */
  #target(node: SyntaxNode | undefined): void {
    if (!node || node.type === 'Identifier') return
    if (node.type !== 'MemberExpression') {
      if (node.type === 'Property') this.#target(child(node, 'value'))
      else if (node.type === 'AssignmentPattern') this.#target(child(node, 'left'))
      else for (const each of children(node)) this.#target(each)
      return
    }
    const method = text(child(node, 'property'), 'name')
    if (part(node, 'computed') !== true && METHODS.test(method))
      this.refuse(node, `it changes the method ${method}`)
    let root: SyntaxNode | undefined = node
    while (root?.type === 'MemberExpression') root = child(root, 'object')
    if (!root) return
    const global = this.#global(root)
    if (global !== undefined) this.refuse(root, `it changes ${global}, which is not its own`)
    for (const kind of ['source', 'constants'] as const)
      if (this.names.is(root, kind)) this.refuse(root, `it changes the ${kind} that it was given`)
  }
}

/** Source of a function as an expression; undefined if it has none that can be read. */
export function expressionOf(source: string): string | undefined {
  for (const expression of [`(${source}\n)`, `({ ${source}\n}).${/^[\w$]+/.exec(source)?.[0] ?? 'get'}`])
    if (parseSync('lens.js', expression, OPTIONS).errors.length === 0) return expression
  return undefined
}

const OPTIONS = { lang: 'js', sourceType: 'module', preserveParens: false } as const

function functionIn(program: SyntaxNode): SyntaxNode | undefined {
  const statement = list(program, 'body')[0]
  const expression = statement && child(statement, 'expression')
  if (!expression) return undefined
  if (isFunction(expression)) return expression
  const object = expression.type === 'MemberExpression' ? child(expression, 'object') : undefined
  const method = object && list(object, 'properties')[0]
  const value = method && part(method, 'method') === true ? child(method, 'value') : undefined
  return value && isFunction(value) ? value : undefined
}

function judge(source: string, kinds: readonly Kind[]): Impurity | undefined {
  const whole = (reason: string): Impurity => ({
    line: 1,
    reason,
    code: source.split('\n', 1)[0]?.trim() ?? '',
  })
  if (source.includes('[native code]'))
    return whole('a built-in or bound function has no source that could be looked at')
  const expression = expressionOf(source)
  if (expression === undefined) return whole('its source is not that of a function')
  const { program } = parseSync('lens.js', expression, OPTIONS)
  const root = functionIn(program as unknown as SyntaxNode)
  if (!root) return whole('it is no function')
  const check = new Check(new Names(root, new Map([[root, kinds]])))
  check.visit(root)
  if (!check.found) return undefined
  const before = expression.slice(0, check.found.at)
  const line = before.split('\n').length
  return { line, reason: check.found.reason, code: expression.split('\n')[line - 1]?.trim() ?? '' }
}

const verdicts = new Map<string, Impurity | undefined>()

/**
 * What makes a function impure, or undefined if it is pure. `kinds` is what its parameters are. Verdicts are kept by the
 * hash of the source.
 */
export function impurityOf(source: string, kinds: readonly Kind[]): Impurity | undefined {
  const key = createHash('sha256')
    .update(JSON.stringify([source, kinds]))
    .digest('base64')
  if (!verdicts.has(key)) verdicts.set(key, judge(source, kinds))
  return verdicts.get(key)
}
