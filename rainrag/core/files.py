"""Files: atomic writes, hashing, listing, locking, safe unpacking, resumable download."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from rainrag.core.errors import InputError, MissingError, RainRAGError
from rainrag.core.names import printable, short

CHUNK = 1 << 20


# ---------------------------------------------------------------- identity
def sha256_bytes(data: bytes) -> str:
    """Hex sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def canonical(value: Any) -> str:
    """JSON text that is equal for equal values: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def fingerprint(value: Any) -> str:
    """16 hex digits that identify a value (settings, inputs) by its content."""
    return sha256_bytes(canonical(value).encode(errors="surrogateescape"))[:16]


def natural(text: str) -> tuple[Any, ...]:
    """Sort key that puts 2 before 10."""
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in re.split(r"(\d+)", text))


def human_bytes(n: float) -> str:
    """1536 -> '1.5 KB'."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(n) < 1024:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1024
    return f"{n:.1f} TB"


# ---------------------------------------------------------------- writing
@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block ends well; on any error nothing is left.

    Raises:
        RainRAGError: when the disk is full or the folder cannot be written.
    """
    path = Path(path)
    tmp = path.with_name(f".{short(path.name)}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield tmp
        with open(tmp, "rb") as f:
            os.fsync(f.fileno())
        os.replace(tmp, path)
    except OSError as e:
        raise RainRAGError(f"cannot write: {e.strerror or e}", where=path, hint=_write_hint(e)) from e
    finally:
        with contextlib.suppress(OSError):
            tmp.unlink(missing_ok=True)


def _write_hint(e: OSError) -> str:
    """What helps against an error of writing."""
    if e.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "choose a folder that you may write to"
    if e.errno == errno.ENAMETOOLONG:
        return "give the file a shorter name"
    if e.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return "a file lies where a folder is needed, or a folder where a file is: choose another place"
    return "free some space, or choose another folder with --out"


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write all or nothing."""
    with atomic(path) as tmp:
        tmp.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write all or nothing, UTF-8, line ends as given; what is no text (bytes of a file's name) becomes an escape."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: str | Path, value: Any) -> None:
    """Readable JSON with sorted keys and a final newline: equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Parse a JSON file.

    Raises:
        InputError: when it is not JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except (ValueError, RecursionError) as e:  # also for bytes that are no text and for numbers of too many digits
        what = "nested too deeply" if isinstance(e, RecursionError) else e
        raise InputError(f"not a JSON file: {what}", where=path) from e


def sweep(folder: Path) -> None:
    """Remove temporary files that a killed process left."""
    for tmp in folder.rglob(".*.tmp"):
        with contextlib.suppress(OSError):
            tmp.unlink()


@contextlib.contextmanager
def lock(path: str | Path, wait: bool = False) -> Iterator[None]:
    """Exclusive lock for one writer, held by the process (released by the system when it dies).

    Args:
        wait: until the other process is done, for work that need not be done twice.

    Raises:
        RainRAGError: when another process holds it and ``wait`` is not set.
    """
    import fcntl

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            f.seek(0)
            raise RainRAGError(
                f"another process is writing here (pid {f.read().strip() or 'unknown'})",
                where=path.parent,
                hint="wait for it to end, or write elsewhere",
            ) from None
        f.truncate(0)
        f.write(str(os.getpid()))
        f.flush()
        yield


# ---------------------------------------------------------------- listing
def listing(root: str | Path, on_error: Callable[[str, str], None] | None = None) -> list[str]:
    """All files below ``root`` as sorted relative POSIX paths; hidden files and folders are passed over.

    Symbolic links to folders are followed, each time that one is met, but never into a folder that holds them.

    Args:
        on_error: called with (relative path, reason) for every folder that cannot be read, and for what is no file:
            links that lead nowhere, pipes, sockets, devices.

    Raises:
        MissingError: when ``root`` is not a folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise MissingError("no such folder", where=root, hint="check the path")
    found: list[str] = []
    visits: dict[tuple[int, int], int] = {}

    def say(name: str, why: str) -> None:
        if on_error:
            on_error(name or ".", why)

    def visit(folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> None:
        try:
            st = folder.stat()
            me = (st.st_dev, st.st_ino)
            if me in above:  # a link back to a folder that holds it
                return
            visits[me] = visits.get(me, 0) + 1
            if visits[me] > MOST_LINKS:
                say(prefix, f"more than {MOST_LINKS} links lead to this folder")
                return
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
        except OSError as e:
            say(prefix, f"folder cannot be read: {e.strerror}")
            return
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            name = f"{prefix}/{entry.name}" if prefix else entry.name
            kind = _kind(entry)
            if kind == "folder":
                visit(Path(entry.path), name, (*above, me))
            elif kind:
                say(name, kind)
            else:
                found.append(name)

    visit(root, "", ())
    return sorted(found)


#: How the reasons begin that ``listing`` gives for folders.
FOLDER_TROUBLE = ("folder", "more than")
MOST_LINKS = 64  # visits of one folder, beyond which links are taken for a maze


def _kind(entry: os.DirEntry[str]) -> str:
    """``folder``, "" for a file, or why it is neither."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return ""
        return "a link that leads nowhere" if entry.is_symlink() else "a pipe, socket or device"
    except OSError as e:
        return f"cannot be read: {e.strerror}"


def tree(paths: list[str], most: int = 24) -> str:
    """A short picture of what a folder holds: folders with file counts and one example name each."""
    folders: dict[str, list[str]] = {}
    for p in paths:
        folders.setdefault(str(PurePosixPath(p).parent), []).append(PurePosixPath(p).name)
    lines = [f"  {printable(d)}/ : {len(v)} files, e.g. {printable(v[0])}" for d, v in sorted(folders.items())[:most]]
    if len(folders) > most:
        lines.append(f"  … and {len(folders) - most} more folders")
    return "\n".join(lines) or "  (no files)"


# ---------------------------------------------------------------- unpacking
MAX_RATIO = 200  # compressed to plain, above which an archive of more than 64 MB is taken for a bomb
MAX_FREE_SHARE = 0.95


def _safe_name(name: str) -> str:
    """The member's name as a relative path below the target.

    Raises:
        InputError: for absolute names, drive letters and ``..``.
    """
    plain = name.replace("\\", "/")
    parts = PurePosixPath(plain).parts
    if plain.startswith("/") or re.match(r"^[A-Za-z]:", plain) or ".." in parts or "\0" in plain:
        raise InputError("archive member points outside its folder", where=name, hint="do not trust this archive")
    return "/".join(p for p in parts if p not in ("", "."))


def _member_name(name: str, taken: set[str], archive: Path) -> str:
    """As ``_safe_name``, once.

    Raises:
        InputError: for a second file of one name: which of the two is meant cannot be known.
    """
    safe = _safe_name(name)
    if safe in taken and not name.endswith("/"):
        raise InputError(
            "archive holds two files of one name", where=f"{archive}:{safe}", hint="unpack it by hand, use --root"
        )
    taken.add(safe)
    return safe


def unpack(archive: str | Path, out: str | Path) -> int:
    """Unpack zip, tar, tar.gz, tar.bz2 or tar.xz below ``out``, safely.

    Refused: names that leave ``out``, links, devices, sizes beyond the free disk, compression ratios of bombs (checked
    against what is really written, not against what the header claims). The whole archive is checked before the first
    byte is written, and unpacked into a temporary folder that is renamed at the end.

    Returns:
        Number of files.

    Raises:
        InputError: when the archive is unsafe, damaged or of an unknown kind.
    """
    archive, out = Path(archive), Path(out)
    tmp = out.with_name(f".{out.name}.unpack.tmp.d")
    shutil.rmtree(tmp, ignore_errors=True)
    tmp.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            count = _unpack_zip(archive, tmp)
        elif tarfile.is_tarfile(archive):
            count = _unpack_tar(archive, tmp)
        else:
            raise InputError("neither a zip nor a tar archive", where=archive, hint="unpack it by hand, use --root")
        out.mkdir(parents=True, exist_ok=True)
        for name in listing(tmp):
            target = out / name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(tmp / name, target)
        return count
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError) as e:
        raise InputError(f"archive is damaged or cannot be unpacked: {e}", where=archive) from e
    except (NotImplementedError, RuntimeError) as e:  # a method that Python does not have; a password
        raise InputError(
            f"archive cannot be unpacked here: {e}", where=archive, hint="unpack it with another program, use --root"
        ) from e
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


def _check_budget(total: int, archive: Path, out: Path) -> int:
    free = shutil.disk_usage(out).free
    packed = max(archive.stat().st_size, 1)
    if total > 64 * CHUNK and total / packed > MAX_RATIO:
        raise InputError(
            f"archive grows {total / packed:.0f}-fold ({human_bytes(total)}): taken for a bomb", where=archive
        )
    if total > free * MAX_FREE_SHARE:
        raise InputError(
            f"archive needs {human_bytes(total)}, the disk has {human_bytes(free)}",
            where=archive,
            hint="free some space, or unpack elsewhere and use --root",
        )
    return total


def _copy(src: IO[bytes], target: Path, budget: int, archive: Path) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with open(target, "wb") as dst:
        while block := src.read(CHUNK):
            written += len(block)
            if written > budget:
                raise InputError("archive member is larger than its header says", where=f"{archive}:{target.name}")
            dst.write(block)
    return written


def _unpack_zip(archive: Path, out: Path) -> int:
    with zipfile.ZipFile(archive) as z:
        members = []
        taken: set[str] = set()
        for info in z.infolist():
            name = _member_name(info.filename, taken, archive)
            if stat.S_ISLNK(info.external_attr >> 16):
                raise InputError("archive holds a symbolic link", where=f"{archive}:{name}")
            if not info.is_dir():
                members.append((info, name))
        _check_budget(sum(i.file_size for i, _ in members), archive, out)
        for info, name in members:
            with z.open(info) as src:
                _copy(src, out / name, info.file_size, archive)
        return len(members)


def _unpack_tar(archive: Path, out: Path) -> int:
    with tarfile.open(archive) as t:
        members = []
        taken: set[str] = set()
        for m in t:
            if m.isdir():
                _safe_name(m.name)
                continue
            name = _member_name(m.name, taken, archive)
            if not m.isfile():
                raise InputError("archive holds a link or device", where=f"{archive}:{name}")
            members.append((m, name))
        _check_budget(sum(m.size for m, _ in members), archive, out)
        for m, name in members:
            src = t.extractfile(m)
            assert src is not None  # isfile() above
            with src:
                _copy(src, out / name, m.size, archive)
        return len(members)
