"""A checksum in each Parquet file, to find damage that would not make any reader fail.

Parquet readers find a file's parts by the offsets in its footer and skip what lies between them. The seal lies there,
before the footer: 8 bytes of name, and the CRC-32 of everything else as 8 hex digits. A CRC-32 finds every flipped bit,
and every run of up to 32 of them, at several GB/s.
"""

import errno
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_NAME = b"embedcrc"
_SEAL_BYTES = len(_NAME) + 8
_MAGIC = b"PAR1"
# The footer's length in 4 bytes, and the magic.
_END_BYTES = 8
_CHUNK_BYTES = 2**22


@dataclass(frozen=True)
class Damage:
    """A file that cannot be read completely, and why. The path and `reason` together make a sentence."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


def seal(path: Path) -> None:
    """Put the seal into a complete Parquet file that has none. Raises OSError if the file has no proper end."""
    with path.open("r+b") as file:
        size = path.stat().st_size
        footer_bytes = _footer_bytes(file, size)
        if footer_bytes == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        data_bytes = size - footer_bytes
        checksum = _checksum(file, data_bytes)
        footer = file.read()
        file.seek(data_bytes)
        file.write(_NAME + b"%08x" % zlib.crc32(footer, checksum) + footer)


def find_damage(path: Path) -> Damage | None:
    """What is wrong with a Parquet file: it is missing, cut, or some of it has changed. None when it is whole.

    Reads all of it. A file without a seal, from another writer or a former version, is decoded whole.
    """
    try:
        with path.open("rb") as file:
            return _look(file, path)
    except FileNotFoundError:
        return Damage(path, "is missing")
    except OSError as error:
        return Damage(path, f"cannot be read ({error.strerror})")


def _look(file: BinaryIO, path: Path) -> Damage | None:
    size = path.stat().st_size
    if size == 0:
        return Damage(path, "is empty")
    footer_bytes = _footer_bytes(file, size)
    data_bytes = size - footer_bytes - _SEAL_BYTES
    if footer_bytes == 0:
        return Damage(path, "is damaged (it does not end as a Parquet file does)")
    file.seek(max(0, data_bytes))
    stored = file.read(_SEAL_BYTES)
    if not stored.startswith(_NAME):
        return _decode(path)
    checksum = _checksum(file, data_bytes)
    file.seek(_SEAL_BYTES, 1)
    if stored != _NAME + b"%08x" % zlib.crc32(file.read(), checksum):
        return Damage(path, "is damaged (its checksum does not fit)")
    return None


def _footer_bytes(file: BinaryIO, size: int) -> int:
    """The bytes of the footer and what follows it. 0 if the file does not end like a Parquet file."""
    file.seek(max(0, size - _END_BYTES))
    end = file.read()
    length = int.from_bytes(end[:4], "little") + _END_BYTES
    return length if end[4:] == _MAGIC and length <= size else 0


def _checksum(file: BinaryIO, size: int) -> int:
    """The CRC-32 of the file's next `size` bytes. Reads up to their end."""
    file.seek(0)
    checksum = 0
    while size:
        chunk = file.read(min(size, _CHUNK_BYTES))
        if not chunk:
            break
        checksum = zlib.crc32(chunk, checksum)
        size -= len(chunk)
    return checksum


def _decode(path: Path) -> Damage | None:
    import polars as pl

    try:
        pl.read_parquet(path, glob=False, hive_partitioning=False)
    # Polars raises what its decoders raise: ComputeError, SchemaError, and a panic, which is no Exception.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        return Damage(path, f"is damaged ({str(error).strip().splitlines()[0]})")
    return None
