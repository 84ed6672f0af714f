# Makes the files that the states are made of: files.py FOLDER BYTES. Numbers and words are of a fixed seed.
import gzip
import json
import lzma
import os
import sqlite3
import subprocess
import sys

import numpy as np

folder, size = sys.argv[1], int(sys.argv[2])
os.makedirs(folder, exist_ok=True)
os.chdir(folder)
rng = np.random.default_rng(7)


def words(letters, n):
    return [''.join(rng.choice(list(letters), size=int(k))) for k in rng.integers(2, 12, size=n)]


def text(vocabulary, length, ending='\n'):
    vocabulary = np.array(vocabulary, dtype=object)
    pieces = []
    have = 0
    while have < length:
        rows = vocabulary[rng.integers(0, len(vocabulary), size=(20000, 12))]
        piece = ending.join(map(' '.join, rows.tolist())) + ending
        pieces.append(piece)
        have += len(piece.encode())
    return ''.join(pieces)


def write(name, what):
    with open(name, 'w', encoding='utf8') as file:
        file.write(what)


cyrillic = words('абвгдежзийклмнопрстуфхцчшщыэюя', 20000)
write('cyrillic.txt', text(cyrillic, size))
write('emoji.txt', text(cyrillic, size // 2, ' \U0001f600\n'))
log = text(words('abcdefghijklmnopqrstuvwxyz', 30000), size).encode()
with gzip.open('log.gz', 'wb', compresslevel=3) as file:
    file.write(log)
with lzma.open('log.xz', 'wb', preset=0) as file:
    file.write(log)
subprocess.run(['zstd', '-q', '-f', '-o', 'log.zst', '-'], input=log, check=True)
np.save('f64.npy', rng.normal(size=size // 8))
np.save('f16.npy', rng.normal(size=size // 4).astype(np.float16))
np.save('u8.npy', rng.integers(0, 256, size=size // 4).astype(np.uint8))
with open('bf16.bin', 'wb') as file:
    file.write(bytes(128))
    file.write((rng.normal(size=size // 4).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes())
table = rng.normal(size=(size // 60, 6)) * 100
np.savetxt('numbers.csv', table, delimiter=',', fmt='%.6f')
with open('named.csv', 'w') as file:
    file.write('a,b,c,d,e,f\n')
    np.savetxt(file, table, delimiter=',', fmt='%.6f')
names = words('abcdefghijklmnopqrstuvwxyz', 5000)
records = [
    {'id': i, 'name': names[i * 7 % 5000], 'tags': [names[i % 5000], names[i * 3 % 5000]], 'price': i * 37 % 9973 / 100}
    for i in range(size // 300)
]
write('records.json', json.dumps(records))
with open('records.csv', 'w') as file:
    for r in records:
        file.write(f'{r["id"]},{r["name"]},{" ".join(r["tags"])},{r["price"]}\n')
os.path.exists('data.db') and os.remove('data.db')
db = sqlite3.connect('data.db')
db.execute('CREATE TABLE d(id INTEGER PRIMARY KEY, t TEXT)')
lines = log.decode().split('\n')
db.executemany('INSERT INTO d(t) VALUES (?)', ((' '.join(lines[i : i + 3]),) for i in range(0, len(lines), 3)))
db.commit()
db.close()
