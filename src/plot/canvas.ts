/** Pixels, lines and small letters, as PNG. */
import { crc32, deflateSync } from 'node:zlib'

// Three by five pixels a letter, from the top row, most significant bit left; drawn twice as large.
const glyphs: Readonly<Record<string, string>> = Object.fromEntries(
  '0 755557 1 262227 2 717471 3 717117 4 755711 5 747117 6 747557 7 711222 8 757557 9 757117 A 257755 B 656556 C 344443 D 655556 E 746447 F 746444 G 345553 H 557555 I 722227 J 111152 K 556555 L 444447 M 577555 N 755555 O 755557 P 757444 Q 755571 R 757655 S 347116 T 722222 U 555557 V 555552 W 555775 X 552255 Y 557222 Z 712447 % 512455 . 000002 : 020200 / 112244 - 000700 = 070700'
    .split(' ')
    .reduce<[string, string][]>((pairs, word, i, all) => {
      if (i % 2 === 0) pairs.push([word, all[i + 1] as string])
      return pairs
    }, []),
)

/** A picture being drawn, white at first. */
export class Canvas {
  readonly width: number
  readonly height: number
  readonly #pixels: Uint8Array
  constructor(width: number, height: number) {
    this.width = width
    this.height = height
    this.#pixels = new Uint8Array(height * (1 + width * 3)).fill(255)
    for (let y = 0; y < height; y++) this.#pixels[y * (1 + width * 3)] = 0
  }
  /** `colour` as 0xRRGGBB. Pixels outside are left out. */
  set(x: number, y: number, colour: number): void {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return
    const at = y * (1 + this.width * 3) + 1 + x * 3
    this.#pixels[at] = colour >> 16
    this.#pixels[at + 1] = (colour >> 8) & 255
    this.#pixels[at + 2] = colour & 255
  }
  /** `y` is the base line. */
  text(x: number, y: number, text: string, colour: number): void {
    ;[...text.toUpperCase()].forEach((letter, i) => {
      const rows = glyphs[letter]
      if (rows === undefined) return
      for (let row = 0; row < rows.length; row++)
        for (let column = 0; column < 3; column++)
          if (((Number(rows[row]) >> (2 - column)) & 1) === 1)
            for (const [dx, dy] of [
              [0, 0],
              [1, 0],
              [0, 1],
              [1, 1],
            ] as const)
              this.set(x + i * 8 + column * 2 + dx, y - 12 + row * 2 + dy, colour)
    })
  }
  line(fromX: number, fromY: number, toX: number, toY: number, colour: number): void {
    const steps = Math.max(Math.abs(toX - fromX), Math.abs(toY - fromY), 1)
    for (let i = 0; i <= steps; i++)
      this.set(
        Math.round(fromX + ((toX - fromX) * i) / steps),
        Math.round(fromY + ((toY - fromY) * i) / steps),
        colour,
      )
  }
  png(): Buffer {
    const chunk = (type: string, data: Uint8Array): Buffer => {
      const out = Buffer.alloc(12 + data.length)
      out.writeUInt32BE(data.length)
      out.write(type, 4, 'latin1')
      out.set(data, 8)
      out.writeUInt32BE(crc32(out.subarray(4, 8 + data.length)), 8 + data.length)
      return out
    }
    const head = Buffer.alloc(13)
    head.writeUInt32BE(this.width)
    head.writeUInt32BE(this.height, 4)
    head.set([8, 2, 0, 0, 0], 8)
    return Buffer.concat([
      Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]),
      chunk('IHDR', head),
      chunk('IDAT', deflateSync(this.#pixels)),
      chunk('IEND', new Uint8Array(0)),
    ])
  }
}
