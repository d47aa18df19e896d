"""Finds a part's code: the modules that it is made of, what they read beside them, and the libraries they import.

`of` follows import statements by reading the code; nothing is imported for it. The hash is of the syntax, so that a
comment, a docstring or the layout changes nothing. What stands in mmbench itself is not among it: that is what the
protocol's number is for (`mmbench.engine.identity`). By `remember` and `forget_changed` a process that lives on, such
as a notebook, runs the code that lies on the disk.
"""

import ast
import hashlib
import importlib.util
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, packages_distributions, version
from itertools import chain
from pathlib import Path

from mmbench.errors import DataError

OURS = "mmbench"
LIBRARIES = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Distributions whose module has another name; looking for others takes half a second."""
READ = re.compile(r"[\w .@+-]+(?:/[\w .@+-]+)*\.\w{1,12}")
"""What a string looks like that may name a file beside the code."""
_INSTALLED = re.compile(r"[/\\](site|dist)-packages[/\\]")
SKIPPED = {"ctx", "kind", "type_comment", "type_ignores", "type_params"}
"""Fields of the syntax tree that say nothing, or that only some versions of Python have."""


@dataclass(frozen=True)
class Source:
    """What a part is made of."""

    hash: str
    """Of the syntax of its modules, and the bytes of what they read."""
    files: Mapping[Path, str]
    """{file: hash of what counts of it}; of Python its syntax, of others all"""
    libraries: Mapping[str, str]
    """{distribution: version} of what it imports of others."""


def of(modules: Iterable[str], beside: Iterable[Path] = ()) -> Source:
    """The code of these modules and of every module that they import, at whatever depth, but for libraries, Python's
    own and mmbench's; files beside them that they name in a string; and `beside`, files or folders that are named.

    Raises DataError if a file that is named can't be read.
    """
    found: dict[Path, str] = {}
    libraries: dict[str, str] = {}
    waiting = [file for name in modules if (file := _file_of(name)) and _is_own(name, file)]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        code = _code(file, _stamp(file))
        found[file] = code.hash
        found |= {read: file_hash(read) for read in code.reads if read not in found}
        for name in code.imports:
            place = _locate(name, file)
            if isinstance(place, Path):
                waiting.append(place)
            elif place:
                libraries[place] = _version(place)
    for place in beside:
        found |= {file: file_hash(file) for file in walk(place)}
    lines = sorted(f"{file.name} {digest}" for file, digest in found.items())  # wherever the folder lies
    return Source(hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16], found, libraries)


def walk(place: Path) -> Iterator[Path]:
    """Every file at or below `place`, in order; links are followed, each folder once. Raises DataError if there is
    none, or one can't be read."""
    seen: set[Path] = set()

    def inside(folder: Path) -> Iterator[Path]:
        real = folder.resolve()
        if real not in seen:
            seen.add(real)
            for path in sorted(folder.iterdir()):
                yield from inside(path) if path.is_dir() else [path]

    try:
        if not place.exists():
            raise DataError(f"{place} does not exist")
        yield from inside(place) if place.is_dir() else [place]
    except OSError as error:
        raise DataError(f"can't read {error.filename or place}: {error.strerror or error}") from error


def reached(place: Path) -> Iterator[Path]:
    """`place`, and every other place that links at or below it lead to."""
    waiting, seen = [place], set[Path]()
    while waiting:
        found = waiting.pop()
        if found in seen:
            continue
        seen.add(found)
        yield found
        inside = (Path(folder, name) for folder, *names in os.walk(found) for name in chain(*names))
        waiting += [path.resolve() for path in (found, *inside) if path.is_symlink()]


def file_hash(file: Path) -> str:
    """The SHA-256 of a file's content; computed again only when the file has changed. Raises DataError if it can't be
    read."""
    try:
        return _file_hash(file, _stamp(file))
    except OSError as error:
        raise DataError(f"can't read {file}: {error.strerror or error}") from error


def content_hash(places: Iterable[Path]) -> str:
    """One hash of all that files and folders hold, and of what they are called; empty if there are none. Raises
    DataError if one can't be read."""
    lines = [f"{p.name}\0{file.relative_to(p)}\0{file_hash(file)}\0" for p in places for file in walk(p)]
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest() if lines else ""


def held(files: Iterable[Path]) -> dict[str, tuple[str, str]]:
    """{path: hashes of its bytes and of what counts of them}, for `hold`."""
    return {str(file): (file_hash(file), _counted(file)) for file in files}


def hold(files: Mapping[str, tuple[str, str]]) -> None:
    """Raise DataError if one of `files`, as `held` gave them, is not what it was. A comment may change; what a confined
    process may not read, it can't use either."""
    for path, (content, counted) in files.items():
        with suppress(PermissionError):
            Path(path).open("rb").close()
            if file_hash(Path(path)) != content and _counted(Path(path)) != counted:
                raise DataError(f"{path} has changed while the run was at work; run again")


def _counted(file: Path) -> str:
    try:
        return _code(file, _stamp(file)).hash if file.suffix == ".py" else file_hash(file)
    except SyntaxError:
        return ""


def remember() -> None:
    """Note what the code was of every module that is imported now and is no library."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name not in _imported and isinstance(file, str) and file.endswith(".py"):
            path = Path(file)
            if _is_own(name, path) and path.is_file():
                _imported[name] = path, file_hash(path)


def forget_changed() -> None:
    """Drop modules whose file has changed since they were imported, with all of their package, and of those
    that import them: the next import reads them again."""
    changed = {name for name, (path, digest) in _imported.items() if not path.is_file() or file_hash(path) != digest}
    if not changed:
        return
    gone = {name.partition(".")[0] for name in changed}
    files = {path for name, (path, _) in _imported.items() if name.partition(".")[0] in gone}
    for name, (path, _) in _imported.items():
        if path.is_file() and files & set(of([name]).files):
            gone.add(name.partition(".")[0])
    for name in [name for name in sys.modules if name.partition(".")[0] in gone]:
        del sys.modules[name]
    for name in [name for name in _imported if name.partition(".")[0] in gone]:
        del _imported[name]
    importlib.invalidate_caches()


_imported: dict[str, tuple[Path, str]] = {}
"""{module: its file, and the hash of that when it was imported}"""


@dataclass(frozen=True)
class _Code:
    """What one file of Python says."""

    hash: str
    imports: tuple[str, ...]
    """Absolute names, and with them those that `from` takes out of them: "a.b" and "a.b:c"."""
    reads: tuple[Path, ...]


def _stamp(file: Path) -> tuple[int, ...]:
    """What changes when a file is replaced or written to."""
    status = file.stat()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


@cache
def _file_hash(file: Path, stamp: tuple[int, ...]) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@cache
def _code(file: Path, stamp: tuple[int, ...]) -> _Code:
    tree = ast.parse(file.read_bytes())
    hashed = hashlib.sha256()
    _say(tree, hashed.update)
    names = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    likely = {name for name in names if len(name) < 200 and READ.fullmatch(name) and not name.endswith((".py", ".pyc"))}
    beside = [place for name in sorted(likely) if (place := file.parent / name).is_file()]
    return _Code(hashed.hexdigest()[:16], tuple(dict.fromkeys(_imports(tree, file))), tuple(beside))


def _say(node: object, write: Callable[[bytes], object]) -> None:
    """Write the syntax tree, docstrings left out, in words that are the same in every version of Python."""
    if isinstance(node, list):
        for item in node:
            _say(item, write)
    elif isinstance(node, ast.AST):
        write(f"({type(node).__name__}".encode())
        for name, value in ast.iter_fields(node):
            if name in SKIPPED or value is None or value == []:
                continue
            write(f" {name}=".encode())
            _say(_without_docstring(value) if name == "body" and isinstance(value, list) else value, write)
        write(b")")
    else:
        write(repr(node).encode(errors="surrogatepass"))


def _without_docstring(body: list[ast.AST]) -> list[ast.AST]:
    first = body[0]
    said = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return body[1:] if said else body


def _imports(tree: ast.AST, file: Path) -> Iterator[str]:
    """What is imported, also inside functions and by `import_module("name")`; not what only type checkers see."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from _imports(ast.Module([other], []), file)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = _package(file).split(".")
                base = ".".join([*above[: len(above) - node.level + 1], *filter(None, [node.module])])
            yield from (f"{base}:{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and type(arg.value) is str)
        yield from _imports(node, file)


def _package(file: Path) -> str:
    """The dotted name of the package that a file lies in; empty if it lies in none."""
    names: list[str] = []
    folder = file.parent
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    return ".".join(names)


def _locate(name: str, importer: Path) -> Path | str | None:
    """The file of an imported module, or the distribution that brings it; None for Python's own and mmbench's."""
    module, _, taken = name.partition(":")
    top, *rest = module.split(".")
    if top in ("", OURS) or top in sys.stdlib_module_names:
        return None
    own = _package(importer).split(".")
    if own[0] == top:  # its own package, which need not be on the path
        folders = [importer.parents[len(own) - 1]]
        found = folders[0] / "__init__.py"
    else:
        spec = _spec(top)
        if spec is None:
            return None  # not installed: the part does without, or fails
        found = Path(spec.origin) if spec.origin and spec.has_location else Path()
        folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
        if not _is_own(top, found if found.name else next(iter(folders), Path())):
            return LIBRARIES.get(top) or _distribution(top)
    for depth, word in enumerate([*rest, *filter(None, [taken])]):
        inner = [place for folder in folders for place in (folder / f"{word}.py", folder / word / "__init__.py")]
        file = next((place for place in inner if place.is_file()), None)
        if file is None:
            below = [folder / word for folder in folders if (folder / word).is_dir()]
            if not below or depth >= len(rest):
                break  # a name inside the module, not a module
            found, folders = Path(), below
            continue
        found, folders = file, [file.parent] if file.name == "__init__.py" else []
    return found if found.suffix == ".py" and found.is_file() else None


def _spec(top: str) -> "importlib.machinery.ModuleSpec | None":
    loaded = sys.modules.get(top)
    try:
        return getattr(loaded, "__spec__", None) or importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None


def _file_of(name: str) -> Path | None:
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file) if isinstance(file, str) and file.endswith(".py") else None


def _is_own(name: str, file: Path) -> bool:
    """Whether the code is a plugin's or a user's, so that it counts itself, and not its version."""
    top = name.partition(".")[0]
    if top == OURS or not file.name:
        return False
    return top in _plugins() or not (_INSTALLED.search(str(file)) or str(file).startswith(_python()))


@cache
def _python() -> tuple[str, ...]:
    return tuple({place + os.sep for key in ("stdlib", "platstdlib") if (place := sysconfig.get_path(key))})


@cache
def _plugins() -> frozenset[str]:
    """The packages of the plugins that are installed."""
    return frozenset(entry.module.partition(".")[0] for entry in entry_points(group=OURS))


@cache
def _distribution(top: str) -> str:
    try:
        version(top)
    except PackageNotFoundError:
        return next(iter(packages_distributions().get(top, ())), top)
    return top


@cache
def _version(distribution: str) -> str:
    """The version that others can have, too: "2.13.0", not "2.13.0+cpu"; "?" if it says none."""
    try:
        return version(distribution).partition("+")[0]
    except PackageNotFoundError:
        return "?"


def public_versions(distributions: Iterable[str]) -> dict[str, str]:
    """{distribution: its public version} of those that are installed."""
    return {name: found for name in sorted(distributions) if (found := _version(name)) != "?"}
