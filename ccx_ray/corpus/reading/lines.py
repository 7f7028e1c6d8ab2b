"""A file's bytes without their compression, and its lines, many at a time.

What a file is compressed by is told from its first bytes, never from its name. Invariants: all that
can be decompressed before a break is delivered, and that there was a break is known at the end; a
line belongs to the shard in which it begins, so the shards of a file hold its lines, each once;
whether a line is too long does not depend on how it is cut into blocks, and none of them is held
whole.

Measured on the bundled English text, one core, MB/s of decompressed bytes: gzip by zlib 320, by
``gzip.open`` 250, by pyarrow 280; bz2 by Python 32, by pyarrow 25; xz 70; zstd by pyarrow 900, and
by ``backports.zstd`` within a quarter of it.
"""

import bz2
import lzma
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from ccx_ray.corpus.reading.record import SHOWN_CHARACTERS, Fault, Reason, Shard
from ccx_ray.storage.input_files import InputFile, unreadable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BLOCK = 2**20
"""Most bytes of a decompressed block."""
READ = 2**17
"""Compressed bytes that are read at once."""
MAGIC: dict[str, tuple[bytes, ...]] = {
    "gzip": (b"\x1f\x8b",),
    "bz2": (b"BZh",),
    "xz": (b"\xfd7zXZ\x00", b"\x5d\x00\x00"),  # .xz and the older .lzma
    # A skippable frame may begin a file (pzstd) and end it (the seekable format).
    "zstd": (b"\x28\xb5\x2f\xfd", *(bytes([n, 0x2A, 0x4D, 0x18]) for n in range(0x50, 0x60))),
}
"""How every member of a compressed file begins."""
FAILURES = (OSError, EOFError, MemoryError, zlib.error, lzma.LZMAError, zstd.ZstdError)
"""What the decoders raise of data that they cannot read."""
WINDOW_LOG = 31
"""Of zstd: windows of up to 2 GiB, as ``--long=31`` makes them; memory is taken as it is filled."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MARKS = re.compile(rb"^(?:\xef\xbb\xbf)+", re.MULTILINE)
"""At the beginning of any line: files with a mark each were joined."""
KEPT = 4 * SHOWN_CHARACTERS
"""Bytes that are kept of a line that is too long."""


def compression_of(file: InputFile) -> str | None:
    """``gzip``, ``bz2``, ``xz``, ``zstd``, or None."""
    with file.open() as raw:
        start = raw.read(8)
    return next((name for name, magic in MAGIC.items() if start.startswith(magic)), None)


class _GzipDecoder:
    """zlib with the interface of bz2 and lzma."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        waiting = self._zlib.unconsumed_tail
        output = self._zlib.decompress(waiting + data if waiting else data, max_length)
        self.needs_input = len(output) < max_length
        return output


def _zstd_decoder() -> Any:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})


DECODERS: dict[str, Callable[[], Any]] = {
    "gzip": _GzipDecoder,
    "bz2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
    "zstd": _zstd_decoder,
}


class TextStream:
    """A file's bytes without its compression, as blocks of at most 1 MiB.

    It begins at ``start``, in bytes of the file; of a compressed file the start of a member (gzip),
    stream (bz2, xz) or frame (zstd).
    """

    def __init__(self, file: InputFile, start: int = 0) -> None:
        self.file = file
        self.compression = compression_of(file)
        self.broken = ""
        """Why the file could not be read to its end, a constant of ``Reason``; known at the end."""
        self.member = start
        """Where in the file the member begins that the last block came from; its own place where
        the file is plain."""

    def __iter__(self) -> Iterator[bytes]:
        """Raises an ``InputError`` where the disk or the store fails."""
        try:
            with self.file.open() as raw:
                raw.seek(self.member)
                if self.compression is not None:
                    yield from self._members(raw, DECODERS[self.compression])
                    return
                while block := raw.read(BLOCK):
                    yield block
                    self.member += len(block)
        except OSError as error:
            raise unreadable(self.file.uri, error) from None

    def _members(self, raw: BinaryIO, new_decoder: Callable[[], Any]) -> Iterator[bytes]:
        magic = MAGIC[str(self.compression)]
        longest = max(map(len, magic))
        position, data = self.member, raw.read(READ)
        while data:
            if len(data) < longest:
                data += raw.read(READ)
            if not data.startswith(magic):  # neither another member nor the padding of archives
                cut = any(one.startswith(data) for one in magic)
                self.broken = Reason.TRUNCATED if cut else Reason.CORRUPT
                return
            self.member = position
            decoder, delivered = new_decoder(), 0
            while not decoder.eof:
                if decoder.needs_input and not data:
                    data = raw.read(READ)
                    if not data:
                        self.broken = Reason.TRUNCATED
                        return
                try:
                    block = decoder.decompress(data, BLOCK)
                except FAILURES as error:
                    self.broken = _reason(error)
                    yield from self._before_break(new_decoder, delivered)
                    return
                position += len(data)
                data = b""
                delivered += len(block)
                if block:
                    yield block
            data = decoder.unused_data
            position -= len(data)
            if not data:
                data = raw.read(READ)
            while data and data[0] == 0:
                stripped = data.lstrip(b"\0")
                position += len(data) - len(stripped)
                data = stripped or raw.read(READ)

    def _before_break(self, new_decoder: Callable[[], Any], delivered: int) -> Iterator[bytes]:
        """What a failed call had decompressed and not returned: the member once more, from where
        it failed in small steps, and then byte by byte."""
        for step in (2**12, 1):
            rest, done, decoder = bytearray(), 0, new_decoder()
            with self.file.open() as raw:
                raw.seek(self.member)
                try:
                    while data := raw.read(2**14):
                        block = decoder.decompress(data, min(BLOCK, max(delivered - done, step)))
                        while block or not decoder.needs_input:
                            done += len(block)
                            if done > delivered:
                                rest += block
                            block = decoder.decompress(b"", min(BLOCK, max(delivered - done, step)))
                except FAILURES:
                    pass  # the break itself
            delivered += len(rest)
            yield bytes(rest)


def _reason(error: Exception) -> str:
    """Why a decoder gave up, a constant of ``Reason``."""
    if isinstance(error, MemoryError) or "memory" in str(error):
        return Reason.WINDOW
    return Reason.DICTIONARY if "ictionary" in str(error) else Reason.CORRUPT


class Lines(NamedTuple):
    """Consecutive lines of a shard, without their newlines."""

    first: int
    """Number of the first in its shard, from 1."""
    data: bytes
    """The lines, a newline between each two."""
    number: int
    """How many."""
    fault: str = ""
    """Set where there is one line, perhaps only its beginning, that is no record for this reason:
    too long, the file breaks off within or before it, the file is empty."""

    @property
    def lines(self) -> list[bytes]:
        return self.data.split(b"\n")

    def as_fault(self) -> Fault:
        """What a reader yields of it when ``fault`` is set."""
        return Fault("", self.first, self.fault, shown(self.data), self.fault in Reason.BREAKS)


def read_lines(shard: Shard, record_bytes: int) -> Iterator[Lines]:
    """The lines of a shard of at most ``record_bytes`` each, at least one batch a MiB."""
    stream = TextStream(shard.file, max(shard.start - 1, 0))
    number = 1
    for fault, data in _batches(stream, _blocks(stream, shard), record_bytes):
        # One byte is looked for ten times as fast as three, and most scripts have no such byte.
        if BYTE_ORDER_MARK[:1] in data and BYTE_ORDER_MARK in data:
            data = _MARKS.sub(b"", data)  # noqa: PLW2901
        count = 1 if fault else data.count(b"\n") + 1
        yield Lines(number, data, count, fault)
        number += count
    if number == 1 and not shard.start:
        yield Lines(1, b"", 1, Reason.EMPTY_FILE)


def beginning(file: InputFile, size: int) -> bytes:
    """The first bytes of a file without its compression, as many as can be read of ``size``."""
    stream, head = TextStream(file), b""
    if stream.compression is None:
        with file.open() as raw:
            return raw.read(size)
    for block in stream:
        head += block
        if len(head) >= size:
            break
    return head[:size]


def first_line(file: InputFile) -> str:
    """The first line of a file, or as much of it as a MiB."""
    batch = next(read_lines(Shard(file), 2**20))
    return batch.lines[0].rstrip(b"\r").decode("utf-8", errors="replace")


def shown(line: bytes) -> str:
    """As much of a line as is kept to be read, undecodable bytes replaced."""
    text = line[:KEPT].decode("utf-8", errors="replace")
    return text[:SHOWN_CHARACTERS].rstrip("\r\n")


def _blocks(stream: TextStream, shard: Shard) -> Iterator[bytes]:
    """The bytes from the first line that begins at or behind ``start`` to the first that begins at
    or behind ``stop``. The stream begins one byte before ``start``: a newline there is one."""
    offset, stop = max(shard.start - 1, 0), shard.stop
    begun = not shard.start
    for block in stream:
        begin = 0
        if not begun:
            if stop is not None and offset + 1 >= stop:
                return
            begin = block.find(b"\n") + 1
            begun = begin > 0
            if begun and stop is not None and offset + begin >= stop:
                return
        if begun and stop is not None and offset + len(block) >= stop:
            end = block.find(b"\n", max(stop - 1 - offset, 0)) + 1
            if end:
                yield block[begin:end]
                return
        if begun:
            yield block[begin:] if begin else block
        offset += len(block)


def _batches(
    stream: TextStream, blocks: Iterator[bytes], record_bytes: int
) -> Iterator[tuple[str, bytes]]:
    pending: list[bytes] = []
    """The beginning of a line whose end has not come; cut where it is too long."""
    held, too_long = 0, False
    for block in blocks:
        last = block.rfind(b"\n")
        if last >= 0:
            begin = 0
            if too_long:
                begin = block.find(b"\n") + 1
                yield Reason.TOO_LONG, (pending[0] + block[: begin - 1])[:KEPT]
            if begin <= last:
                head = [] if too_long else pending
                yield from _split(b"".join([*head, block[begin:last]]), record_bytes)
            block = block[last + 1 :]  # noqa: PLW2901
            pending, held, too_long = [], 0, False
        if too_long:
            pending = [(pending[0] + block[:KEPT])[:KEPT]]
        elif block:
            pending.append(block)
            held += len(block)
            if held > record_bytes:
                pending, too_long = [b"".join(pending)[:KEPT]], True
    if too_long:
        yield Reason.TOO_LONG, pending[0]
        pending = []
    if stream.broken:
        yield stream.broken, b"".join(pending)
    elif pending:
        yield "", b"".join(pending)


def _split(data: bytes, record_bytes: int) -> Iterator[tuple[str, bytes]]:
    if len(data) <= record_bytes:
        yield "", data
        return
    lines = data.split(b"\n")
    begin = 0
    for number, line in enumerate(lines):
        if len(line) > record_bytes:
            if begin < number:
                yield "", b"\n".join(lines[begin:number])
            yield Reason.TOO_LONG, line[:KEPT]
            begin = number + 1
    if begin < len(lines):
        yield "", b"\n".join(lines[begin:])
