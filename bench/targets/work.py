# A CPU-bound target: work.py FILE SET; see bench/work.c.
import sys
import time

data = open(sys.argv[1], 'rb').read()
size = int(sys.argv[2])
print('ready', flush=True)
for line in sys.stdin:
    rounds = int(line.split()[1])
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    total = 0
    for r in range(rounds):
        for at in range(r, size, 512):
            total += data[at] * at & 0xff
    print(time.perf_counter_ns() - wall, time.thread_time_ns() - cpu, total, flush=True)
