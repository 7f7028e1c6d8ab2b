"""Lines of a file, many at a time, none held whole that is too long.

Invariants: a line belongs to the shard in which it begins, so the shards of a file hold its lines,
each once; whether a line is too long does not depend on how it is cut into blocks.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ccx_ray.corpus.reading.decompression import TextStream, open_text_stream
from ccx_ray.corpus.reading.record import SHOWN_CHARACTERS, Fault, Reason, Shard
from ccx_ray.storage.input_files import InputFile

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
KEPT = 4 * SHOWN_CHARACTERS
"""Bytes that are kept of a line that is too long."""


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
    """The lines of a shard, at least one batch a MiB.

    Args:
        record_bytes: the most that a line may have.
    """
    stream = open_text_stream(shard.file, max(shard.start - 1, 0))
    number = 1
    for fault, data in _batches(stream, _blocks(stream, shard), record_bytes):
        begun = data
        if number == 1 and not shard.start:
            begun = data.removeprefix(BYTE_ORDER_MARK)
        count = 1 if fault else data.count(b"\n") + 1
        yield Lines(number, begun, count, fault)
        number += count
    if number == 1 and not shard.start:
        yield Lines(1, b"", 1, Reason.EMPTY_FILE)


def first_line(file: InputFile, record_bytes: int = 2**20) -> str:
    """The first line of a file, or as much of it as ``record_bytes``."""
    batch = next(read_lines(Shard(file), record_bytes))
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
