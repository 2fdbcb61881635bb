"""What holds for the project as a whole: its wheel is complete, its pages are up to date, its parts are described."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

from pgtrace import docs, registry
from pgtrace.api import described_tables
from pgtrace.query import queries


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source") / "pgtrace"
    tracked = subprocess.run(
        # also where the files are another user's, as in many a container
        ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    for name in tracked.stdout.splitlines():
        if not name.startswith(("sample_logs/", "tests/")) and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    # with what the tests' environment has, so that no package index has to answer
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(out), str(source)]
    subprocess.run(build, capture_output=True, check=True)
    [found] = out.glob("*.whl")
    return found


def test_the_wheel_holds_every_module_and_every_query(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    roots = {"pgtrace": ROOT / "pgtrace", "pgtrace/parsers": ROOT / "parsers", "pgtrace/queries": ROOT / "queries"}
    expected = {
        f"{package}/{path.relative_to(root).as_posix()}"
        for package, root in roots.items()
        for path in root.rglob("*")
        if path.is_file() and path.suffix in (".py", ".sql", ".tsv", ".typed", ".css", ".js")
    }
    assert expected - packed == set()


def test_an_installed_wheel_works(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False, system_site_packages=False)
    [site] = (tmp_path / "env").glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(ours) + "\n")  # the dependencies of the tests serve the wheel too
    python = tmp_path / "env" / "bin" / "python"
    log = ROOT / "sample_logs" / "pg15-mixed" / "postgresql.log"
    run = [str(python), "-m", "pgtrace"]
    where = subprocess.run(
        [str(python), "-c", "import pgtrace; print(pgtrace.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        text=True,
    )
    assert str(site) in where.stdout
    subprocess.run([*run, "ingest", str(log), "-q"], cwd=tmp_path, check=True, capture_output=True)
    answer = subprocess.run(
        [*run, "query", "slow_queries", "--format", "csv"], cwd=tmp_path, check=True, capture_output=True
    )
    assert len(answer.stdout.splitlines()) > 10


def test_the_generated_pages_are_up_to_date() -> None:
    assert (ROOT / "docs" / "queries.md").read_text() == docs.queries_page(), "run python -m pgtrace.docs"
    assert (ROOT / "docs" / "tables.md").read_text() == docs.tables_page(described_tables()), (
        "run python -m pgtrace.docs"
    )


def test_every_query_table_and_command_is_described() -> None:
    """Tables and queries in the generated pages, which the README leads to."""
    readme = (ROOT / "README.md").read_text()
    pages = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("tables", "queries")}
    from typer.main import get_command

    from pgtrace.cli.app import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    described = readme + (ROOT / "docs" / "lake.md").read_text() + (ROOT / "docs" / "formats.md").read_text()
    missing = [name for name in queries() if f"[{name}](#{name})" not in pages["queries"]]
    missing += [name for name in described_tables() if f"[{name}](#{name})" not in pages["tables"]]
    missing += [name for name in pages if f"(docs/{name}.md)" not in readme]
    missing += [name for name in commands if f"pgtrace {name}" not in described and f"make {name}" not in described]
    assert missing == []


def test_every_folder_of_code_is_a_package_that_is_installed() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    roots = {"pgtrace": ROOT / "pgtrace", "pgtrace.parsers": ROOT / "parsers", "pgtrace.queries": ROOT / "queries"}
    found = {
        ".".join([package, *path.parent.relative_to(root).parts])
        for package, root in roots.items()
        for path in root.rglob("__init__.py")
    }
    assert found == listed


def test_nobody_imports_a_leaf_by_name() -> None:
    code = [path for root in ("pgtrace", "parsers") for path in (ROOT / root).rglob("*.py")]
    imports = [
        str(path) for path in code if re.search(r"^\s*(from|import) (pgtrace\.)?parsers", path.read_text(), re.M)
    ]
    assert imports == []


def test_leaves_are_found_by_scanning() -> None:
    own = [name for name in registry.log_formats() if name in ("jsonlog", "csvlog", "stderr")]
    assert own == ["jsonlog", "csvlog", "stderr"]  # in the order of their ranks
    assert set(registry.message_types()) >= {"statement", "checkpoint", "autovacuum", "temp_file", "lock_wait", "error"}
