// Shell completion, made from the commander definitions.
import { Command, type Option } from 'commander'
import { examples } from './arguments.ts'
import { UsageError } from './errors.ts'

export function completionCommand(lethe: () => Command): Command {
  return new Command('completion')
    .description('print completion for a shell')
    .argument('<shell>', 'bash, zsh or fish')
    .addHelpText(
      'after',
      examples([
        ['source <(lethe completion bash)', 'for this bash'],
        ['lethe completion zsh > "${fpath[1]}/_lethe"', 'for zsh'],
        ['lethe completion fish > ~/.config/fish/completions/lethe.fish', 'for fish'],
      ]),
    )
    .action((shell: string) => {
      const make = shells[shell]
      if (make === undefined)
        throw new UsageError(`'${shell}' is not a shell that completion is made for: bash, zsh or fish`)
      process.stdout.write(make(lethe()))
    })
}

const shells: Readonly<Record<string, (lethe: Command) => string>> = { bash, zsh, fish }

const visible = (command: Command): readonly Option[] => command.createHelp().visibleOptions(command)
const names = (option: Option): string[] => [option.short, option.long].filter(name => name !== undefined)
/** What stands for a command's argument: attached processes, or all. */
const takesPid = (command: Command): boolean => ['attach', 'detach', 'audit'].includes(command.name())

const words = (command: Command): string => visible(command).flatMap(names).join(' ')

function bashRest(command: Command): string {
  if (takesPid(command)) return '$(cd /proc && echo [0-9]*)'
  if (command.name() === 'completion') return 'bash zsh fish'
  return command.commands.map(own => own.name()).join(' ')
}

function bash(lethe: Command): string {
  const cases = lethe.commands.flatMap(command => [
    ...command.commands.map(own => `    ${command.name()}\\ ${own.name()}) words="${words(own)}" rest= ;;`),
    `    ${command.name()}\\ *) words="${words(command)}" rest="${bashRest(command)}" ;;`,
  ])
  return `# bash completion for lethe
_lethe() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} words rest i
  for ((i = 2; i < COMP_CWORD; i++)); do
    [[ \${COMP_WORDS[i]} == -- ]] && { compopt -o default; COMPREPLY=($(compgen -c -- "$word")); return; }
  done
  case $before in
    --backing|--state|--json) compopt -o default; COMPREPLY=(); [[ $before != --json ]] && return ;;
  esac
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W "${lethe.commands.map(c => c.name()).join(' ')} --help --version" -- "$word"))
    return
  fi
  case "\${COMP_WORDS[1]} \${COMP_WORDS[2]}" in
${cases.join('\n')}
    *) words= rest= ;;
  esac
  if [[ $word == -* ]]; then rest=; else words=; fi
  COMPREPLY=($(compgen -W "$words $rest" -- "$word"))
}
complete -F _lethe lethe
`
}

const quoted = (text: string): string => text.replaceAll("'", "'\\''")

function zsh(lethe: Command): string {
  const commands = lethe.commands.map(c => `    '${c.name()}:${quoted(c.description())}'`)
  const cases = lethe.commands.map(command => {
    const options = visible(command).map(option => {
      const value =
        !option.required && !option.optional
          ? ''
          : /path|dir|file/.test(option.flags)
            ? ':file:_files'
            : ':value:'
      return `'*${option.long ?? option.short}[${quoted(option.description).replaceAll(/[[\]]/g, '')}]${value}'`
    })
    const rest =
      command.name() === 'run'
        ? "'*::command:_normal'"
        : takesPid(command)
          ? "'1:process:_pids'"
          : command.name() === 'completion'
            ? "'1:shell:(bash zsh fish)'"
            : command.commands.length > 0
              ? `'1:command:(${command.commands.map(own => own.name()).join(' ')})' '*::argument:_files'`
              : ''
    return `    ${command.name()}) _arguments ${[...options, rest].filter(Boolean).join(' ')} ;;`
  })
  return `#compdef lethe
_lethe() {
  local -a commands=(
${commands.join('\n')}
  )
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  ((CURRENT--))
  case $command in
${cases.join('\n')}
  esac
}
_lethe "$@"
`
}

function fish(lethe: Command): string {
  const lines = ['# fish completion for lethe', 'complete -c lethe -f']
  for (const command of lethe.commands) {
    lines.push(
      `complete -c lethe -n __fish_use_subcommand -a ${command.name()} -d '${command.description().replaceAll("'", "\\'")}'`,
    )
    const when = `-n '__fish_seen_subcommand_from ${command.name()}'`
    for (const option of visible(command)) {
      const long = option.long === undefined ? '' : ` -l ${option.long.slice(2)}`
      const short = option.short === undefined ? '' : ` -s ${option.short.slice(1)}`
      const value = option.required ? (/path|dir/.test(option.flags) ? ' -rF' : ' -x') : ''
      lines.push(
        `complete -c lethe ${when}${short}${long}${value} -d '${option.description.replaceAll("'", "\\'")}'`,
      )
    }
    for (const own of command.commands)
      lines.push(
        `complete -c lethe ${when} -a ${own.name()} -d '${own.description().replaceAll("'", "\\'")}'`,
      )
    if (takesPid(command)) lines.push(`complete -c lethe ${when} -a '(__fish_complete_pids)'`)
    if (command.name() === 'completion') lines.push(`complete -c lethe ${when} -a 'bash zsh fish'`)
    if (command.name() === 'run') lines.push(`complete -c lethe ${when} -a '(__fish_complete_command)'`)
  }
  return `${lines.join('\n')}\n`
}
