"""Reading and writing small files so that a crash leaves the old one, and bad input says where it is bad."""

import errno
import hashlib
import json
import lzma
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contracts.errors import BusyError, DataError


def write_text(path: Path, text: str) -> None:
    """Write atomically: readers see the old file or the new one.

    Raises:
        BusyError: the disk is full.
    """
    with disk_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
                stream.write(text)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON with a final newline; the same value gives the same bytes."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one compact JSON object a line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows))


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing: run `freshtune retrain` (or `dvc repro`) to make it") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}): delete it and run `freshtune retrain`") from None


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any] | DataError]]:
    """Yield (line number, object) for each line that is not blank; a broken line yields its DataError instead.

    A file whose name ends in .xz is decompressed on the way.

    Raises:
        DataError: the file cannot be read at all.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: check the path in params.yaml")
    for number, raw in _numbered_lines(path):
        if not raw.strip():
            continue
        try:
            value = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError) as error:
            yield number, DataError(f"{path}:{number} is not a JSON object ({error}): correct or delete that line")
            continue
        if isinstance(value, dict):
            yield number, value
        else:
            kind = type(value).__name__
            yield number, DataError(f"{path}:{number} holds a {kind}, not a JSON object: write it as {{…}}")


def _numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as stream:
            yield from enumerate(stream, start=1)
    except (lzma.LZMAError, EOFError) as error:
        raise DataError(f"{path} is not a whole .xz file ({error}): fetch it again") from None


def content_hash(value: Any) -> str:
    """SHA-256 of a JSON value's canonical form, as 64 hex digits."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tree_hashes(root: Path) -> dict[str, str]:
    """SHA-256 of every file below `root`, keyed by its path with forward slashes."""
    return {p.relative_to(root).as_posix(): file_hash(p) for p in sorted(root.rglob("*")) if p.is_file()}


@contextmanager
def disk_of(path: Path) -> Iterator[None]:
    """Turn "no space left" while `path` is written into one message.

    Raises:
        BusyError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise full_disk(path) from None
        raise


def full_disk(path: Path) -> BusyError:
    """The error of a disk on which `path` finds no room."""
    return BusyError(f"the disk of {path} is full: make room and run the same command again")


def require_disk(out: Path, size: int) -> None:
    """Raise BusyError unless `size` bytes and a tenth more are free where `out` will stand."""
    parent = next(p for p in (out, *out.absolute().parents) if p.exists())
    free = shutil.disk_usage(parent).free
    if free < size * 1.1:
        raise BusyError(
            f"{out} needs {size * 1.1 / 2**30:.1f} GiB and its disk has {free / 2**30:.1f} GiB free: make room and run again"
        )
