# Arrays, tables and texts so large that the interpreter beside them is small: larger.py FOLDER. Everything is of a fixed seed. They
# have the sizes, and shapes, of what an earlier study read.
import gzip
import json
import random
import shutil
import sys

import numpy as np

folder = sys.argv[1]
rng = np.random.default_rng(11)
np.save(f'{folder}/f64.npy', rng.normal(size=25_000_000))
np.save(f'{folder}/f16.npy', rng.normal(size=60_000_000).astype(np.float16))
np.save(f'{folder}/u8.npy', rng.integers(0, 256, size=108_000_000).astype(np.uint8))
with open(f'{folder}/bf16.bin', 'wb') as file:
    file.write(bytes(128))
    file.write((rng.normal(size=48_000_000).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes())
rows = rng.integers(10**5, 10**6, size=(1_000_000, 8)) / 1e5
text = '\n'.join(','.join(map(str, row)) for row in rows.tolist())
for name, head in (('numbers.csv', ''), ('named.csv', 'a,b,c,d,e,f,g,h\n')):
    with open(f'{folder}/{name}', 'w') as file:
        file.write(head + text + '\n')


def line(n):
    points = rng.integers(-180_000_000, 180_000_000, size=(n, 2)) / 1e6
    heights = rng.integers(0, 9000, size=n)
    return {'type': 'Feature', 'coordinates': points.tolist(), 'heights': heights.tolist()}


with open(f'{folder}/geo.json', 'w') as file:
    json.dump({'type': 'FeatureCollection', 'features': [line(100) for _ in range(10_000)]}, file)

# Longer texts: all lines, and then some of them in another order.
for name, size in (('log.txt', 100_000_000), ('cyrillic.txt', 140_000_000)):
    text = open(f'{folder}/{name}', encoding='utf8').read()
    lines = text.split('\n')
    have = len(text.encode())
    more = random.Random(12).choices(lines, k=int((size - have) / have * len(lines)))
    with open(f'{folder}/long-{name}', 'w', encoding='utf8') as file:
        file.write(text + '\n'.join(more) + '\n')
# One character makes all of them four bytes long.
with open(f'{folder}/log.txt') as text, open(f'{folder}/emoji-log.txt', 'w', encoding='utf8') as file:
    file.write(text.read() + '\U0001f600\n')
with open(f'{folder}/long-log.txt', 'rb') as text, gzip.open(f'{folder}/long-log.gz', 'wb', 6) as file:
    shutil.copyfileobj(text, file)
