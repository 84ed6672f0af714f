# A Python target: a bytearray and a list that grow, and copies of a file. `same` as long as all is what it must be.
import sys, zlib, os

path = sys.argv[1]
data = open(path, 'rb').read()
want = zlib.crc32(data)
array = bytearray(data)
parts = [data[i : i + 65536] for i in range(0, len(data), 65536)]
crcs = [zlib.crc32(p) for p in parts]
model = zlib.crc32(array)
print('ready', flush=True)
for line in sys.stdin:
    word = line.split()
    if word[0] == 'grow':
        n = int(word[1])
        array += bytes([n]) * 1000003
        model = zlib.crc32(bytes([n]) * 1000003, model)
        parts.append(data[n * 7 : n * 7 + 300000])
        crcs.append(zlib.crc32(parts[-1]))
    elif word[0] == 'fork':
        pid = os.fork()
        if pid == 0:
            os._exit(0 if zlib.crc32(data) == want and zlib.crc32(array) == model else 1)
        if os.waitpid(pid, 0)[1] != 0:
            print('child differs', flush=True)
            continue
    ok = zlib.crc32(data) == want and zlib.crc32(array) == model and [zlib.crc32(p) for p in parts] == crcs
    print('same' if ok else 'differs', flush=True)
