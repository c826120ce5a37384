from pathlib import Path
from typing import Self

from pyarrow import Schema

class FileMetaData:
    num_rows: int

class ParquetFile:
    metadata: FileMetaData
    schema_arrow: Schema
    def __init__(self, source: Path) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *args: object) -> None: ...
