/**
 * Names of a piece of JavaScript: which variable an identifier means, and what is surely a number or an array of bytes.
 *
 * `Names.of(program)` goes through the tree once: each identifier that is read or written is bound to a `Variable`, or is free.
 * `is(node, kind)` proves, from all assignments that a variable ever gets, that an expression has a kind whatever happens;
 * it answers false where it can't.
 */

/** A node of the syntax tree, ESTree's names. */
export interface SyntaxNode {
  readonly type: string
  readonly start: number
  readonly end: number
}

/** numbers: Number or BigInt, as which a key is never the name of a method. bytes: a typed array. view: a DataView. source: what a lens reads. */
export type Kind = 'number' | 'bytes' | 'view' | 'source' | 'constants'

export interface Variable {
  readonly name: string
  /** What the caller promises of a parameter. */
  readonly given: Kind | undefined
  /** All that is ever assigned to it. */
  readonly values: SyntaxNode[]
  /** It gets values that are not expressions: parts of others, arguments. */
  unknown: boolean
}

type Scope = Map<string, Variable>

const isNode = (value: unknown): value is SyntaxNode =>
  typeof value === 'object' && value !== null && typeof (value as SyntaxNode).type === 'string'

/** A part of a node, by its ESTree name. */
export function part(node: SyntaxNode, key: string): unknown {
  return (node as unknown as Readonly<Record<string, unknown>>)[key]
}

export function child(node: SyntaxNode, key: string): SyntaxNode | undefined {
  const value = part(node, key)
  return isNode(value) ? value : undefined
}

/** Nodes of a list; holes of an array are left out. */
export function list(node: SyntaxNode, key: string): SyntaxNode[] {
  const value = part(node, key)
  return Array.isArray(value) ? value.filter(isNode) : []
}

export const text = (node: SyntaxNode | undefined, key: string): string => {
  const value = node && part(node, key)
  return typeof value === 'string' ? value : ''
}

export function children(node: SyntaxNode): SyntaxNode[] {
  return Object.entries(node).flatMap(([key, value]: [string, unknown]) => {
    if (key === 'parent') return []
    return Array.isArray(value) ? value.filter(isNode) : isNode(value) ? [value] : []
  })
}

export const isFunction = (node: SyntaxNode): boolean =>
  node.type === 'FunctionExpression' ||
  node.type === 'ArrowFunctionExpression' ||
  node.type === 'FunctionDeclaration'

const SCOPES = new Set([
  'BlockStatement',
  'ForStatement',
  'ForOfStatement',
  'ForInStatement',
  'SwitchStatement',
  'CatchClause',
])
const ARITHMETIC = new Set(['-', '*', '/', '%', '**', '|', '&', '^', '<<', '>>', '>>>'])
const TYPED = /^(?:Big)?(?:Int|Uint|Float)(?:8|16|32|64)(?:Clamped)?Array$/

export class Names {
  /** What identifiers mean, of those that are bound. */
  readonly variables: Map<SyntaxNode, Variable> = new Map()
  readonly #given: ReadonlyMap<SyntaxNode, readonly (Kind | undefined)[]>

  /** `given`: kinds of the parameters of some functions. */
  constructor(root: SyntaxNode, given: ReadonlyMap<SyntaxNode, readonly (Kind | undefined)[]>) {
    this.#given = given
    this.#visit(root, [new Map()])
  }

  #visit(node: SyntaxNode, scopes: readonly Scope[]): void {
    if (isFunction(node)) return this.#function(node, scopes)
    if (SCOPES.has(node.type)) {
      const scope: Scope = new Map()
      const inner = [...scopes, scope]
      const statements =
        node.type === 'SwitchStatement'
          ? list(node, 'cases').flatMap(each => list(each, 'consequent'))
          : node.type === 'BlockStatement'
            ? list(node, 'body')
            : [child(node, 'init') ?? child(node, 'left')].filter(isNode)
      for (const statement of statements) this.#declare(statement, scope, false)
      const caught = node.type === 'CatchClause' ? child(node, 'param') : undefined
      if (caught) this.#pattern(caught, scope, true)
      return this.#parts(node, inner)
    }
    if (node.type === 'Identifier') return this.#bind(node, scopes)
    this.#parts(node, scopes)
  }

  #function(node: SyntaxNode, scopes: readonly Scope[]): void {
    const scope: Scope = new Map()
    const name = child(node, 'id')
    if (name && node.type === 'FunctionExpression') this.#pattern(name, scope, true)
    const kinds = this.#given.get(node)
    for (const [i, parameter] of list(node, 'params').entries()) {
      if (parameter.type === 'Identifier')
        scope.set(text(parameter, 'name'), {
          name: text(parameter, 'name'),
          given: kinds?.[i],
          values: [],
          unknown: kinds?.[i] === undefined,
        })
      else this.#pattern(parameter, scope, true)
    }
    const body = child(node, 'body')
    if (body) this.#hoist(body, scope)
    for (const parameter of list(node, 'params')) this.#visit(parameter, [...scopes, scope])
    if (name) this.#visit(name, [...scopes, scope])
    if (body) this.#visit(body, [...scopes, scope])
  }

  /** Declarations with var belong to the whole function. */
  #hoist(node: SyntaxNode, scope: Scope): void {
    if (isFunction(node)) return
    if (node.type === 'VariableDeclaration' && text(node, 'kind') === 'var') this.#declare(node, scope, true)
    for (const each of children(node)) this.#hoist(each, scope)
  }

  #declare(statement: SyntaxNode, scope: Scope, hoisting: boolean): void {
    if (statement.type === 'FunctionDeclaration') {
      const name = child(statement, 'id')
      if (name) this.#pattern(name, scope, true)
    }
    if (statement.type !== 'VariableDeclaration' || (text(statement, 'kind') === 'var') !== hoisting) return
    for (const each of list(statement, 'declarations')) {
      const name = child(each, 'id')
      if (name) this.#pattern(name, scope, name.type !== 'Identifier')
    }
  }

  /** Declares the names of a pattern. */
  #pattern(node: SyntaxNode, scope: Scope, unknown: boolean): void {
    if (node.type === 'Identifier') {
      const name = text(node, 'name')
      const known = scope.get(name)
      if (known) known.unknown ||= unknown
      else scope.set(name, { name, given: undefined, values: [], unknown })
    } else if (node.type === 'Property') this.#pattern(child(node, 'value') ?? node, scope, unknown)
    else if (node.type === 'AssignmentPattern') this.#pattern(child(node, 'left') ?? node, scope, unknown)
    else if (/Pattern$|^RestElement$/.test(node.type))
      for (const each of children(node)) this.#pattern(each, scope, unknown)
  }

  #bind(node: SyntaxNode, scopes: readonly Scope[]): void {
    const name = text(node, 'name')
    for (let i = scopes.length - 1; i >= 0; i--) {
      const variable = scopes[i]?.get(name)
      if (variable) {
        this.variables.set(node, variable)
        return
      }
    }
  }

  /** Goes into the parts of a node that are no names of properties and labels, then notes what is assigned. */
  #parts(node: SyntaxNode, scopes: readonly Scope[]): void {
    const names = part(node, 'computed') !== true
    for (const each of children(node)) {
      if (names && node.type === 'MemberExpression' && each === part(node, 'property')) continue
      if (names && node.type === 'Property' && each === part(node, 'key') && each !== part(node, 'value'))
        continue
      if (each === part(node, 'label')) continue
      this.#visit(each, scopes)
    }
    this.#note(node)
  }

  #note(node: SyntaxNode): void {
    if (node.type === 'VariableDeclarator') {
      const value = child(node, 'init')
      if (value) this.#give(child(node, 'id'), value)
    } else if (node.type === 'AssignmentExpression') {
      const operator = text(node, 'operator')
      // What an operator makes of numbers it says itself; see `is`.
      this.#give(child(node, 'left'), operator === '=' ? (child(node, 'right') ?? node) : node)
    } else if (node.type === 'ForOfStatement' || node.type === 'ForInStatement') {
      const left = child(node, 'left')
      const declared = left && (list(left, 'declarations')[0] ?? left)
      const name = declared && (child(declared, 'id') ?? declared)
      if (name) this.#give(name, node)
    }
  }

  #give(target: SyntaxNode | undefined, value: SyntaxNode): void {
    if (!target) return
    if (target.type === 'Identifier') this.variables.get(target)?.values.push(value)
    else if (target.type !== 'MemberExpression') for (const each of children(target)) this.#spoil(each)
  }

  #spoil(node: SyntaxNode): void {
    const variable = this.variables.get(node)
    if (variable) variable.unknown = true
    for (const each of children(node)) this.#spoil(each)
  }

  /** Whether an expression surely has a kind. */
  is(node: SyntaxNode | undefined, kind: Kind, asked: ReadonlySet<Variable> = new Set()): boolean {
    if (!node) return false
    const of = (key: string): boolean => this.is(child(node, key), kind, asked)
    switch (node.type) {
      case 'Literal':
        return (
          kind === 'number' &&
          (typeof part(node, 'value') === 'number' || typeof part(node, 'value') === 'bigint')
        )
      case 'UnaryExpression':
        return kind === 'number' && ['-', '+', '~'].includes(text(node, 'operator'))
      case 'UpdateExpression':
        return kind === 'number'
      case 'BinaryExpression':
        if (kind !== 'number') return false
        return (
          ARITHMETIC.has(text(node, 'operator')) ||
          (text(node, 'operator') === '+' && of('left') && of('right'))
        )
      case 'AssignmentExpression': {
        const operator = text(node, 'operator').slice(0, -1)
        if (operator === '') return of('right')
        if (kind === 'number' && ARITHMETIC.has(operator)) return true
        return of('left') && of('right')
      }
      case 'ConditionalExpression':
        return of('consequent') && of('alternate')
      case 'LogicalExpression':
        return of('left') && of('right')
      case 'SequenceExpression':
        return this.is(list(node, 'expressions').at(-1), kind, asked)
      case 'ForOfStatement':
        return kind === 'number' && this.is(child(node, 'right'), 'bytes', asked)
      case 'Identifier':
        return this.#variableIs(node, kind, asked)
      case 'MemberExpression':
        return kind === 'number' && this.#memberIsNumber(node, asked)
      case 'NewExpression': {
        const callee = child(node, 'callee')
        if (!callee || this.variables.has(callee)) return false
        const name = text(callee, 'name')
        return (kind === 'bytes' && TYPED.test(name)) || (kind === 'view' && name === 'DataView')
      }
      case 'CallExpression':
        return this.#callIs(node, kind, asked)
      default:
        return false
    }
  }

  #variableIs(node: SyntaxNode, kind: Kind, asked: ReadonlySet<Variable>): boolean {
    const variable = this.variables.get(node)
    if (!variable) return kind === 'number' && ['NaN', 'Infinity'].includes(text(node, 'name'))
    // What depends on itself has the kind if all else that it gets has.
    if (asked.has(variable)) return true
    if (variable.unknown || (variable.given !== undefined && variable.given !== kind)) return false
    const now = new Set([...asked, variable])
    return (
      (variable.given === kind || variable.values.length > 0) &&
      variable.values.every(value => this.is(value, kind, now))
    )
  }

  #memberIsNumber(node: SyntaxNode, asked: ReadonlySet<Variable>): boolean {
    const object = child(node, 'object')
    if (part(node, 'computed') === true)
      return this.is(object, 'bytes', asked) && this.is(child(node, 'property'), 'number', asked)
    const name = text(child(node, 'property'), 'name')
    if (/^(?:length|byteLength|byteOffset)$/.test(name)) return this.is(object, 'bytes', asked)
    return name === 'size' && this.is(object, 'source', asked)
  }

  #callIs(node: SyntaxNode, kind: Kind, asked: ReadonlySet<Variable>): boolean {
    const callee = child(node, 'callee')
    if (!callee) return false
    if (callee.type === 'Identifier')
      return (
        kind === 'number' &&
        !this.variables.has(callee) &&
        ['Number', 'BigInt', 'parseInt', 'parseFloat'].includes(text(callee, 'name'))
      )
    const object = child(callee, 'object')
    if (callee.type !== 'MemberExpression' || !object || part(callee, 'computed') === true) return false
    const method = text(child(callee, 'property'), 'name')
    const global = object.type === 'Identifier' && !this.variables.has(object) ? text(object, 'name') : ''
    if (global === 'Math') return kind === 'number'
    if (TYPED.test(global)) return kind === 'bytes' && (method === 'from' || method === 'of')
    if (kind === 'bytes')
      return (
        (method === 'read' && this.is(object, 'source', asked)) ||
        (/^(?:subarray|slice|map|filter|fill|set|toReversed|toSorted|with)$/.test(method) &&
          this.is(object, 'bytes', asked))
      )
    return kind === 'number' && method.startsWith('get') && this.is(object, 'view', asked)
  }
}
