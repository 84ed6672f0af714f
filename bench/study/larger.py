# Arrays, tables and texts so large that the interpreter beside them is small: larger.py FOLDER. Everything is of a fixed seed.
import random
import sys

import numpy as np

folder = sys.argv[1]
rng = np.random.default_rng(11)
np.save(f'{folder}/f64.npy', rng.normal(size=24_000_000))
np.save(f'{folder}/f16.npy', rng.normal(size=56_000_000).astype(np.float16))
np.save(f'{folder}/u8.npy', rng.integers(0, 256, size=104_000_000).astype(np.uint8))
with open(f'{folder}/bf16.bin', 'wb') as file:
    file.write(bytes(128))
    file.write((rng.normal(size=48_000_000).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes())
rows = rng.integers(-(10**9), 10**9, size=(1_900_000, 4))
text = '\n'.join(f'{a / 1e6},{b / 1e6},{c / 1e6},{d / 1e6}' for a, b, c, d in rows.tolist())
for name, head in (('numbers.csv', ''), ('named.csv', 'a,b,c,d\n')):
    with open(f'{folder}/{name}', 'w') as file:
        file.write(head + text + '\n')


# Longer texts: all lines, and then some of them in another order.
for name, more in (('log.txt', 0.27), ('cyrillic.txt', 1.4)):
    lines = open(f'{folder}/{name}', encoding='utf8').read().split('\n')
    with open(f'{folder}/long-{name}', 'w', encoding='utf8') as file:
        file.write('\n'.join(lines) + '\n')
        file.write('\n'.join(random.Random(12).choices(lines, k=int(more * len(lines)))) + '\n')
