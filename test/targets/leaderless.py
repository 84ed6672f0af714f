# A Python target whose main thread ends (pthread_exit) while another one goes on.
import ctypes, os, sys, threading, zlib

data = open(sys.argv[1], 'rb').read()
want = zlib.crc32(data)
leave = threading.Event()


def work():
    print('ready', flush=True)
    for line in sys.stdin:
        word = line.strip()
        if word == 'leave':
            leave.set()
            while open(f'/proc/{os.getpid()}/stat').read().rsplit(')', 1)[1].split()[0] != 'Z':
                pass
            print('left', flush=True)
        elif word == 'end':
            os._exit(0)
        else:
            print('same' if zlib.crc32(data) == want else 'differs', flush=True)


threading.Thread(target=work).start()
leave.wait()
ctypes.CDLL(None).syscall(60, 0)  # exit of this thread alone
