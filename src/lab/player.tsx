/** Steps through something: buttons, keys, and a strip of all steps in the colours of what happened at each. */
import { useEffect, useRef, useState } from 'preact/hooks'

export interface PlayerProps {
  /** Of each step, its kind: a class name. Step 0 is the state before the first. */
  readonly kinds: readonly string[]
  readonly step: number
  readonly onStep: (step: number) => void
}

export function Player({ kinds, step, onStep }: PlayerProps) {
  const [playing, setPlaying] = useState(false)
  const [speed, setSpeed] = useState(2)
  const last = kinds.length
  const now = useRef({ step, onStep, last })
  now.current = { step, onStep, last }
  useEffect(() => {
    if (!playing) return undefined
    const timer = setInterval(() => {
      const { step: at, onStep: to, last: end } = now.current
      if (at >= end) setPlaying(false)
      else to(at + 1)
    }, 1000 / speed)
    return () => clearInterval(timer)
  }, [playing, speed])
  useEffect(() => {
    const key = (event: KeyboardEvent): void => {
      if (event.target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName))
        return
      const { step: at, onStep: to, last: end } = now.current
      const target = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: end }[event.key]
      if (target !== undefined) to(Math.min(end, Math.max(0, target)))
      else if (event.key === ' ') setPlaying(is => !is)
      else return
      event.preventDefault()
    }
    addEventListener('keydown', key)
    return () => removeEventListener('keydown', key)
  }, [])
  const seek = (event: MouseEvent): void => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect()
    onStep(Math.min(last, Math.max(1, Math.ceil(((event.clientX - box.left) / box.width) * last))))
  }
  return (
    <div class="player">
      <div class="buttons">
        <button type="button" title="To the start (Home)" onClick={() => onStep(0)}>
          <Icon name="start" />
        </button>
        <button
          type="button"
          title="One step back (←)"
          disabled={step === 0}
          onClick={() => onStep(step - 1)}
        >
          <Icon name="back" />
        </button>
        <button type="button" class="main" title="Play or pause (space)" onClick={() => setPlaying(!playing)}>
          <Icon name={playing ? 'pause' : 'play'} />
        </button>
        <button
          type="button"
          title="One step (→)"
          disabled={step >= last}
          onClick={() => onStep(Math.min(last, step + 1))}
        >
          <Icon name="next" />
        </button>
        <button type="button" title="To the end (End)" onClick={() => onStep(last)}>
          <Icon name="end" />
        </button>
      </div>
      <button type="button" class="strip" aria-label="All steps" onClick={seek}>
        {kinds.map((kind, i) => (
          <i key={i} class={`${kind}${i + 1 === step ? ' now' : ''}${i + 1 > step ? ' later' : ''}`} />
        ))}
      </button>
      <output class="count">
        {step} <span>of {last}</span>
      </output>
      <label class="speed">
        Speed
        <input
          type="range"
          min="1"
          max="12"
          value={speed}
          onInput={event => setSpeed(Number((event.target as HTMLInputElement).value))}
        />
      </label>
    </div>
  )
}

const icons = {
  start: 'M3 2h2v12H3zM14 2v12L6 8z',
  back: 'M9 2v12L2 8zM11 2h2v12h-2z',
  play: 'M4 2v12l9-6z',
  pause: 'M3 2h4v12H3zM9 2h4v12H9z',
  next: 'M3 2h2v12H3zM7 2v12l7-6z',
  end: 'M11 2h2v12h-2zM2 2v12l8-6z',
} as const

function Icon({ name }: { name: keyof typeof icons }) {
  return (
    <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
      <path d={icons[name]} fill="currentColor" />
    </svg>
  )
}
