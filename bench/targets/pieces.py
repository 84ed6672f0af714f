# Holds a file in pieces: as a sqlite page cache, as a list of lines, as rows of floats. Answers with a checksum of it all.
import sqlite3, sys, zlib

how, path = sys.argv[1:3]
if how == 'sqlite':
    data = sqlite3.connect(path)
    data.execute('pragma cache_size=-4000000')
    scan = lambda: data.execute('select count(body), sum(length(body)), max(body) from t').fetchone()
    scan()
    digest = lambda: repr(scan())
elif how == 'lines':
    data = open(path).readlines()
    digest = lambda: zlib.crc32(''.join(data).encode())
else:
    data = [[float(x) for x in line.split(',')] for line in open(path)]
    digest = lambda: repr(sum(x for row in data for x in row))
print('ready', flush=True)
for line in sys.stdin:
    print(digest(), flush=True)
