"""Files whose first bytes say that they are not text to be read: archives, other compressions,
other formats, pointers to a content that was not fetched.

Such a file would be read as thousands of faulty lines; it is refused before anything runs instead.
"""

import tarfile

from ccx_ray.corpus.reading.lines import MAGIC, beginning, compression_of
from ccx_ray.errors import UserError
from ccx_ray.storage.input_files import InputFile

HEAD = 1024
UNPACK = "unpack it and give the files in it"
RECOMPRESS = "give it uncompressed, or compressed by gzip, bzip2, xz or zstd"
FETCH = "fetch the file itself"
CONVERT = "convert it to a supported format"

KNOWN = {
    b"PK\x03\x04": ("a zip archive", UNPACK),
    b"PK\x05\x06": ("an empty zip archive", UNPACK),
    b"PK\x07\x08": ("a split zip archive", UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", UNPACK),
    b"Rar!\x1a\x07": ("a rar archive", UNPACK),
    b"MSCF": ("a cab archive", UNPACK),
    b"!<arch>\n": ("an ar archive", UNPACK),
    b"070701": ("a cpio archive", UNPACK),
    b"070707": ("a cpio archive", UNPACK),
    b"\x1f\x9d": ("compressed by compress", RECOMPRESS),
    b"\x78\x9c": ("compressed by zlib", RECOMPRESS),
    b"\x78\xda": ("compressed by zlib", RECOMPRESS),
    b"\x04\x22\x4d\x18": ("compressed by lz4", RECOMPRESS),
    b"\x02\x21\x4c\x18": ("compressed by lz4", RECOMPRESS),
    b"\x27\xb5\x2f\xfd": ("compressed by a zstd before 0.8", RECOMPRESS),
    b"LZIP": ("compressed by lzip", RECOMPRESS),
    b"\x89LZO\x00": ("compressed by lzop", RECOMPRESS),
    b"\xff\x06\x00\x00sNaPpY": ("compressed by snappy", RECOMPRESS),
    b"version https://git-lfs.github.com/": ("a Git LFS pointer", f"{FETCH} (git lfs pull)"),
    b"/annex/objects/": ("a git-annex pointer", f"{FETCH} (git annex get)"),
    b"PAR1": ("Parquet", "name the format parquet"),
    b"ARROW1\x00\x00": ("an Arrow file", CONVERT),
    b"\xff\xff\xff\xff": ("an Arrow stream", f"{CONVERT} (Dataset.to_parquet does)"),
    b"\x89HDF": ("HDF5", CONVERT),
    b"\x80\x04\x95": ("a pickle", CONVERT),
    b"\x80\x05\x95": ("a pickle", CONVERT),
    b"\xd0\xcf\x11\xe0": ("a document of Microsoft Office", CONVERT),
    b"Obj\x01": ("Avro", CONVERT),
    b"SQLite format 3\x00": ("an SQLite database", CONVERT),
    b"%PDF-": ("a PDF document", CONVERT),
}
"""First bytes -> kind of file, and what to do about it."""
HTML = b"<!doctype html", b"<html"
"""First bytes, in lower case, of an HTML page that a server sent instead of a file."""
UTF_16 = "UTF-16 or UTF-32", "give UTF-8 (iconv -f UTF-16 -t UTF-8 makes it)"
FORMATS_OF_XML = {"tmx"}
"""Formats whose reader handles the encoding."""


def check_contents(file: InputFile, form: str, *, field: str) -> None:
    """Look at the first bytes of a file of the format ``form``, as they stand and decompressed.

    Raises:
        UserError: it is nothing that can be read.
    """
    head, compression = beginning(file, HEAD), compression_of(file)
    if form in ("parquet", "wikipedia"):
        if compression is not None:
            raise UserError(
                f"{field}: {file.uri!r} is a Parquet file compressed by {compression}; unpack it"
            )
        if head.startswith(b"PAR1"):
            return
    inside = "" if compression is None else f", compressed by {compression},"
    found = _known(head, form)
    if (
        found is None
        and compression is not None
        and head.startswith(tuple(sum(MAGIC.values(), ())))
    ):
        found = "compressed once more", "decompress it once"
    if found is not None:
        what, remedy = found
        raise UserError(f"{field}: {file.uri!r}{inside} is {what}; {remedy}")


def _known(head: bytes, form: str) -> tuple[str, str] | None:
    for magic, found in KNOWN.items():
        if head.startswith(magic):
            return found
    if head.lstrip().lower().startswith(HTML):
        return "an HTML page", f"{FETCH}; a server may have sent the page instead of it"
    # Without a byte order mark, one of the first two bytes is a NUL.
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff")) or head[:2].count(0) == 1
    if wide and form not in FORMATS_OF_XML:
        return UTF_16
    try:
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    return "a tar archive", UNPACK
