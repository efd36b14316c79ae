"""An archive of any size as a file, of which only what is read is made."""

import io

__all__ = ["Opened"]


class Opened(io.RawIOBase):
    """An archive as a file that can be read from anywhere."""

    def __init__(self, archive):
        self.archive, self.at = archive, 0

    def seekable(self):
        return True

    def readable(self):
        return True

    def tell(self):
        return self.at

    def seek(self, offset, whence=0):
        self.at = offset + (0, self.at, self.archive.size)[whence]
        return self.at

    def readinto(self, buffer):
        stop = min(self.at + len(buffer), self.archive.size)
        data = b"".join(self.archive.read(self.at, stop))
        buffer[: len(data)] = data
        self.at = stop
        return len(data)
