# The same of Python: planted.py FILE FILE FILE FILE.
import io
import sys


def site_read(path):
    with open(path, 'rb') as file:
        return file.read()


def site_text(path):
    with open(path, encoding='utf8') as file:
        return file.read()


class Pieces:
    def site_method(self, path):
        self.pieces = []
        with open(path, 'rb', buffering=0) as file:
            while piece := file.read(20480):
                self.pieces.append(piece)
        return self


def site_buffer(path):
    buffer = io.BytesIO()
    with open(path, 'rb') as file:
        for piece in iter(lambda: file.read(1 << 16), b''):
            buffer.write(piece)
    return buffer


held = [site_read(sys.argv[1]), site_text(sys.argv[2]), Pieces().site_method(sys.argv[3]), site_buffer(sys.argv[4])]
print('ready', flush=True)
sys.stdin.read()
