"""What is named is found and read to its last byte, or the user is told which file and what to do."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import pickle
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.errors import PgtraceError, UsageError
from pgtrace.ingest.same_events import same_events
from pgtrace.ingest.sources import Source, open_sources
from pgtrace.ingest.streams import LogStream, decompressed

LOG = b"".join(b"2026-11-24 06:26:58.%03d UTC [%d] LOG:  line %d\n" % (n % 1000, n, n * n) for n in range(20_000))


def with_arrow(codec: str) -> Callable[[bytes], bytes]:
    def compress(data: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(data)
        return bytes(sink.getvalue())

    return compress


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": with_arrow("zstd"),
    "lz4": with_arrow("lz4"),
}


def read_all(source: Source, size: int = 70_000) -> bytes:
    with source.open() as stream:
        return b"".join(iter(lambda: stream.read(size), b""))


def read_until_error(stream: LogStream, size: int = 70_000) -> tuple[bytes, str]:
    data = b""
    with stream:
        try:
            while block := stream.read(size):
                data += block
        except PgtraceError as error:
            return data, str(error)
    raise AssertionError("it was read to its end")


def write(path: Path, data: bytes = LOG) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def labels(*paths: str, leave_out: tuple[Path, ...] = ()) -> list[str]:
    return [source.label for source in open_sources(paths, leave_out)]


def test_a_plain_file_says_what_it_is() -> None:
    status = write(Path("a.log")).stat()
    (source,) = open_sources(["a.log"])
    assert (source.size_bytes, source.mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert (source.device, source.inode) == (status.st_dev, status.st_ino)
    assert (source.is_named, source.is_stdin, source.is_compressed) == (True, False, False)
    assert source.head(100) == LOG[:100]
    assert read_all(source) == LOG
    assert read_all(pickle.loads(pickle.dumps(source))) == LOG


@pytest.mark.parametrize("compression", COMPRESS)
def test_compression_is_known_by_the_first_bytes(compression: str) -> None:
    stored = COMPRESS[compression](LOG)
    (source,) = open_sources([str(write(Path("server.log"), stored))])
    assert (source.compression, source.is_compressed, source.size_bytes) == (compression, True, len(stored))
    assert source.head(1000) == LOG[:1000]
    assert read_all(source) == LOG
    assert read_all(source, size=10_000_000) == LOG


@pytest.mark.parametrize("compression", COMPRESS)
def test_compressed_files_put_one_behind_the_other_are_one_log(compression: str) -> None:
    compress = COMPRESS[compression]
    (source,) = open_sources([str(write(Path("a"), compress(LOG) + compress(b"") + compress(LOG[:5000])))])
    assert read_all(source) == LOG + LOG[:5000]


@pytest.mark.parametrize("compression", [None, *COMPRESS])
def test_an_empty_log_is_no_error(compression: str | None) -> None:
    (source,) = open_sources([str(write(Path("a"), COMPRESS[compression](b"") if compression else b""))])
    assert source.head(10) == b""
    assert read_all(source) == b""


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_of_a_cut_file_all_is_read_that_is_there(compression: str, share: float) -> None:
    stored = COMPRESS[compression](LOG)
    stored = stored[: int(len(stored) * share)]
    (source,) = open_sources([str(write(Path("cut.log.z"), stored))])
    data, error = read_until_error(source.open())
    assert LOG.startswith(data)
    assert len(data) >= len(decompressible(compression, stored))
    assert error.startswith("cut.log.z: ends early: ")
    assert "\n" not in error


def decompressible(compression: str, stored: bytes) -> bytes:
    """What the decompressor itself gives for the part that is there."""
    if compression == "gzip":
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(stored)
    if compression == "bzip2":
        return bz2.BZ2Decompressor().decompress(stored)
    if compression == "xz":
        return lzma.LZMADecompressor().decompress(stored)
    stream, data = pa.CompressedInputStream(pa.BufferReader(stored), compression), b""
    with contextlib.suppress(OSError):
        while block := stream.read(64):
            data += block
    return data


@given(st.floats(0.05, 0.95))
@settings(deadline=None, max_examples=20)
def test_of_a_damaged_gzip_file_all_is_read_up_to_the_damage(share: float) -> None:
    stored = bytearray(gzip.compress(LOG))
    at = int(len(stored) * share)
    sound = decompressible("gzip", bytes(stored[:at]))
    stored[at : at + 200] = bytes(200)
    stream = LogStream("a.gz", lambda: decompressed(io.BytesIO(bytes(stored)), "gzip"))
    data, error = read_until_error(stream)
    assert data.startswith(sound)
    assert error.startswith("a.gz: is damaged: ")


def test_an_error_is_raised_again_by_the_next_read() -> None:
    (source,) = open_sources([str(write(Path("a.gz"), gzip.compress(LOG)[:-100]))])
    stream = source.open()
    _, error = read_until_error(stream)
    with pytest.raises(PgtraceError, match="ends early") as again:
        stream.read(1)
    assert str(again.value) == error


@pytest.mark.parametrize("compression", [None, *COMPRESS])
def test_bytes_that_are_known_are_skipped(compression: str | None) -> None:
    (source,) = open_sources([str(write(Path("a"), COMPRESS[compression](LOG) if compression else LOG))])
    with source.open() as stream:
        stream.skip(123_457)
        assert stream.read(1000) == LOG[123_457:124_457]


def test_a_folder_is_searched_in_order_without_what_is_hidden_or_a_lake() -> None:
    for name in ("logs/b.log", "logs/a.log", "logs/old/c.log.gz", "logs/.hidden", "logs/.git/x.log"):
        write(Path(name))
    for name in ("logs/lake/ledger.sqlite", "logs/lake/tables/x.parquet", "logs/out/report.csv"):
        write(Path(name))
    found = ["logs/a.log", "logs/b.log", "logs/old/c.log.gz"]
    assert labels("logs", leave_out=(Path("logs/out"),)) == found
    assert not any(source.is_named for source in open_sources(["logs"]))


def test_a_link_to_a_folder_above_ends() -> None:
    write(Path("logs/a.log"))
    Path("logs/again").symlink_to("..", target_is_directory=True)
    assert labels("logs") == ["logs/a.log"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("logs/*.log", ["logs/a.log", "logs/b.log"]),
        ("logs/[b]*", ["logs/b.log"]),
        ("**/*.gz", ["logs/old/c.gz"]),
        ("l*s", ["logs/a.log", "logs/b.log", "logs/old/c.gz"]),
    ],
)
def test_a_glob_that_the_shell_left_alone_is_looked_up(pattern: str, found: list[str]) -> None:
    for name in [*found, "logs/a.log", "logs/b.log", "logs/old/c.gz"]:
        write(Path(name))
    assert labels(pattern) == found


def test_a_file_with_the_signs_of_a_glob_in_its_name_is_a_file() -> None:
    write(Path("a[1].log"))
    write(Path("a1.log"))
    assert labels("a[1].log") == ["a[1].log"]


def test_a_file_that_is_named_twice_is_read_once() -> None:
    write(Path("logs/a.log"))
    write(Path("logs/b.log"))
    sources = open_sources(["logs", "logs/b.log", "./logs/b.log"])
    assert [(Path(source.label), source.is_named) for source in sources] == [
        (Path("logs/a.log"), False),
        (Path("logs/b.log"), True),
    ]


@pytest.mark.parametrize("path", ["missing.log", "missing/", "*.missing"])
def test_a_path_that_does_not_exist_is_a_wrong_call(path: str) -> None:
    with pytest.raises(UsageError, match=r"^[^\n]+: no (such )?file ") as caught:
        open_sources([path])
    assert str(caught.value).startswith(path)


def test_a_file_that_may_not_be_read_says_so() -> None:
    write(Path("secret.log")).chmod(0)
    with not_as_root():
        (source,) = open_sources(["secret.log"])
        data, error = read_until_error(source.open())
    assert data == b""
    assert error.startswith("secret.log: cannot be read (Permission denied): check ")


@contextlib.contextmanager
def not_as_root() -> Iterator[None]:
    """Root may read every file; for a moment be somebody else."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(own)


def test_a_file_that_is_gone_by_now_says_so() -> None:
    path = write(Path("a.log"))
    (source,) = open_sources(["a.log"])
    path.unlink()
    data, error = read_until_error(source.open())
    assert data == b""
    assert error.startswith("a.log: cannot be read (No such file or directory)")


def test_a_link_to_nowhere_says_so() -> None:
    Path("a.log").symlink_to("nowhere")
    (source,) = open_sources(["a.log"])
    assert read_until_error(source.open())[1].startswith("a.log: cannot be read (No such file or directory)")


MEMBERS = {
    "log/a.log": LOG,
    "log/b.log.gz": gzip.compress(LOG[:3000]),
    "log/.hidden": b"x",
    "empty.log": b"",
    "log/d.csv": LOG[:99],
}


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1_795_501_776
            tar.addfile(info, io.BytesIO(data))
        folder = tarfile.TarInfo("log/folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    return buffer.getvalue()


@pytest.mark.parametrize("compression", [None, *COMPRESS])
def test_each_file_of_an_archive_is_a_source(compression: str | None) -> None:
    stored = tar_of(MEMBERS)
    write(Path("logs/old.archive"), COMPRESS[compression](stored) if compression else stored)
    sources = open_sources(["logs"])
    assert {source.label: read_all(source) for source in sources} == {
        "logs/old.archive!log/a.log": LOG,
        "logs/old.archive!log/b.log.gz": LOG[:3000],
        "logs/old.archive!empty.log": b"",
        "logs/old.archive!log/d.csv": LOG[:99],
    }
    assert sources[0].head(50) == LOG[:50]
    assert sources[0].mtime_ns == 1_795_501_776_000_000_000
    assert not any(source.is_named for source in open_sources(["logs/old.archive"]))


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
def test_of_a_cut_archive_all_is_read_that_is_there(compression: str | None) -> None:
    stored = tar_of({"a.log": LOG[:4000], "b.log": LOG})
    cut = stored[:60_000] if compression is None else COMPRESS[compression](stored)[:20_000]
    sources = open_sources([str(write(Path("cut.tar"), cut))])
    assert [source.label for source in sources[:2]] == ["cut.tar!a.log", "cut.tar!b.log"]
    assert read_all(sources[0]) == LOG[:4000]
    data, error = read_until_error(sources[1].open())
    assert data
    assert LOG.startswith(data)
    assert "ends early" in error
    assert error.startswith("cut.tar")


@pytest.mark.parametrize("compression", [None, *COMPRESS])
def test_standard_input_is_looked_at_and_then_read_from_its_beginning(compression: str | None) -> None:
    program = (
        "import sys; from pgtrace.ingest.sources import open_sources; (source,) = open_sources(['-']);"
        "assert source.is_stdin and source.size_bytes is None;"
        "assert source.head(100) == source.head(100) and len(source.head(300_000)) == 300_000;"
        "stream = source.open(); sys.stdout.buffer.write(b''.join(iter(lambda: stream.read(77_777), b'')))"
    )
    stored = COMPRESS[compression](LOG) if compression else LOG
    done = subprocess.run([sys.executable, "-c", program], input=stored, capture_output=True, check=False)
    assert (done.stderr, done.returncode) == (b"", 0)
    assert done.stdout == LOG


FORMATS = {"log": "stderr", "csv": "csvlog", "json": "jsonlog", "txt": "unknown"}


def format_in(name: str) -> str:
    return next(log_format for part, log_format in FORMATS.items() if f".{part}" in name)


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        # each format rotates at its own size, so the times in the names differ
        (
            [
                "p-2026-11-24_063030.csv",
                "p-2026-11-24_063037.csv",
                "p-2026-11-24_063030.log",
                "p-2026-11-24_063046.log",
            ],
            ["p-2026-11-24_063030.csv", "p-2026-11-24_063037.csv"],
        ),
        (["p.csv", "p.log", "p.json", "startup-stderr.log"], ["p.json", "startup-stderr.log"]),
        (["p.log.gz", "p.csv.1.gz", "p.log.1"], ["p.csv.1.gz"]),
        # csvlog was switched on later: what was logged before is in the stderr log only
        (["p-2026-11-23.log", "p-2026-11-24.log", "p-2026-11-24.csv"], ["p-2026-11-23.log", "p-2026-11-24.csv"]),
        (["p-Mon.log", "p-Tue.log", "p-Tue.csv"], ["p-Mon.log", "p-Tue.csv"]),
        (["one/p.log", "two/p.csv"], ["one/p.log", "two/p.csv"]),
        (["a.tar!p.log", "b.tar!p.csv", "b.tar!p.log"], ["a.tar!p.log", "b.tar!p.csv"]),
        (["p.txt", "p.csv"], ["p.txt", "p.csv"]),
        (["p-1.log", "p-2.log"], ["p-1.log", "p-2.log"]),
    ],
)
def test_events_logged_in_several_formats_are_read_once(names: list[str], kept: list[str]) -> None:
    found = [(Source(name, None), format_in(name)) for name in names]
    keep, left_out = same_events(found)
    assert [source.label for source, _ in keep] == kept
    assert [source.label for source, _ in left_out] == [name for name in names if name not in kept]
    assert all(reason.startswith("the same events as ") for _, reason in left_out)


def test_a_file_that_was_named_is_read_in_any_format() -> None:
    found = [
        (Source("p.log", None, is_named=True), "stderr"),
        (Source("p.csv", None, is_named=True), "csvlog"),
        (Source("q.log", None), "stderr"),
        (Source("q.csv", None, is_named=True), "csvlog"),
    ]
    assert same_events(found) == (found, [])
