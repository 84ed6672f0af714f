# Holds a file. Prints "ready"; each line: the checksum of all and the seconds that the pass took.
import sys
import time
import zlib

data = open(sys.argv[1], 'rb').read()
print('ready', flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    total = zlib.crc32(data)
    print(total, time.perf_counter() - began, flush=True)
