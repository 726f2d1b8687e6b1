"""Reading a hospital's source: only the mapped columns, read-only, as text in one canonical form.

Columns are dictionary-encoded while they stream in, so that memory holds each distinct value once and a
code per row. Whatever the source, a value is text (`text_of`) or nothing: the mapping then knows one kind
of input, and the same data have the same fingerprint in a file and in a database.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from consilium_errors import Misuse, Unavailable
from participants.config import FileSource, HospitalConfig, PostgresqlSource, SqliteSource

if TYPE_CHECKING:
    from sqlalchemy import Engine

_CHUNK = 20_000
_READERS = {"csv": "read_csv(?, all_varchar = true, header = true)", "parquet": "read_parquet(?)"}
_LOCAL = ("localhost", "127.0.0.1", "::1", None)


@dataclass(frozen=True, eq=False)
class Coded:
    """One column: distinct values (text, or None for an empty one) and int32[n] codes into them."""

    values: tuple[str | None, ...]
    codes: NDArray[np.int32]

    def take(self, rows: NDArray[np.int64]) -> Coded:
        return Coded(self.values, self.codes[rows])

    def at(self, row: int) -> str | None:
        return self.values[int(self.codes[row])]


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a source, ascending by patient, one per patient; ``columns`` by source column."""

    ids: tuple[str, ...]
    columns: Mapping[str, Coded]

    @property
    def n(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.int64]) -> Rows:
        return Rows(
            tuple(self.ids[int(i)] for i in rows),
            {name: column.take(rows) for name, column in self.columns.items()},
        )


def text_of(value: object) -> str | None:
    """The canonical text of a value; None for what is empty.

    Whole floats read like integers (databases and Parquet turn integers with gaps into floats).

    Raises:
        Misuse: ``source.type`` for a type with no such text.
    """
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case str():
            return value.strip() or None
        case int():
            return str(value)
        case float():
            if math.isnan(value):
                return None
            return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
        case Decimal():
            return text_of(float(value)) if value == value.to_integral_value() else f"{value.normalize():f}"
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise Misuse(
        "source.type", f"a column holds values of type {type(value).__name__}", "cast it to text in a view"
    )


def read(config: HospitalConfig) -> Rows:
    """All rows of the hospital's source, mapped columns only.

    Raises:
        Misuse: ``source.not_found``, ``source.column``, ``source.patient_id``, ``source.duplicate_patient``,
            ``source.type``, ``config.environment``.
        Unavailable: ``source.unavailable`` when a server does not answer.
    """
    source = config.source
    columns = sorted({column.from_ for column in config.columns.values()})
    wanted = [source.patient_id, *columns]
    match source:
        case FileSource():
            chunks = _from_file(source, _existing(config.path), wanted)
        case SqliteSource():
            chunks = _from_database(_sqlite(_existing(config.path)), source.relation, wanted)
        case PostgresqlSource():
            chunks = _from_database(_postgresql(source.address()), source.relation, wanted)
    return _collect(columns, chunks)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise Misuse(
            "source.not_found", f"source.path: {path} is no file", "a relative path starts at hospital.toml"
        )
    return path


def _from_file(source: FileSource, path: Path, wanted: Sequence[str]) -> Iterator[Sequence[Sequence[Any]]]:
    import duckdb

    # Nothing is fetched for a file's sake: no extension, no configuration from outside.
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    with duckdb.connect(":memory:", config=settings) as connection:
        try:
            reader = f"SELECT {{}} FROM {_READERS[source.kind]}"  # noqa: S608 - columns are quoted below
            found = connection.execute(reader.format("*") + " LIMIT 0", [str(path)]).description or []
            _check_columns(wanted, [str(column[0]) for column in found])
            result = connection.execute(reader.format(", ".join(map(_quoted, wanted))), [str(path)])
            while chunk := result.fetchmany(_CHUNK):
                yield chunk
        except duckdb.Error as error:
            raise Misuse("source.unreadable", f"source.path: {type(error).__name__}: {error}") from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _sqlite(path: Path) -> Engine:
    from sqlalchemy import create_engine

    return create_engine(f"sqlite:///file:{path}?mode=ro&uri=true")


def _postgresql(address: str) -> Engine:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url, arguments = hardened(address)
        return create_engine(url, connect_args=arguments, isolation_level="REPEATABLE READ")
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise Misuse(
            "source.url", "source.url: no PostgreSQL address", "postgresql://user@host/database"
        ) from None
    except ImportError:
        raise Misuse(
            "source.driver", "no PostgreSQL driver is installed", "pip install 'psycopg[binary]'"
        ) from None


def hardened(address: str) -> tuple[Any, dict[str, str]]:
    """SQLAlchemy URL for psycopg, and libpq settings: read-only, TLS verified unless on this machine.

    Raises:
        Misuse: ``source.tls`` if the address asks for weaker TLS; ``source.url`` if it is no PostgreSQL
            address.
    """
    from sqlalchemy import make_url

    url = make_url(address)
    if url.get_backend_name() != "postgresql":
        raise Misuse("source.url", "source.url: no PostgreSQL address", "postgresql://user@host/database")
    mode = url.query.get("sslmode", "verify-full")
    if url.host not in _LOCAL and mode != "verify-full":
        raise Misuse("source.tls", "source.url: a server elsewhere needs sslmode=verify-full")
    arguments = {"options": "-c default_transaction_read_only=on", "connect_timeout": "10"}
    if url.host not in _LOCAL:
        arguments["sslmode"] = "verify-full"
    return url.set(drivername="postgresql+psycopg").difference_update_query(["sslmode", "options"]), arguments


def _from_database(engine: Engine, relation: str, wanted: Sequence[str]) -> Iterator[Sequence[Sequence[Any]]]:
    from sqlalchemy import column, inspect, select, table
    from sqlalchemy.exc import NoSuchTableError, OperationalError, SQLAlchemyError

    schema, _, name = relation.rpartition(".")
    try:
        found = [c["name"] for c in inspect(engine).get_columns(name, schema=schema or None)]
        _check_columns(wanted, found)
        query: Any = select(*(column(c) for c in wanted)).select_from(table(name, schema=schema or None))
        with engine.connect() as connection:
            result = connection.execution_options(yield_per=_CHUNK).execute(query)
            yield from result.partitions()
    except NoSuchTableError:
        raise Misuse(
            "source.relation", f"source.relation: {relation} is not there, or not readable"
        ) from None
    except OperationalError as error:
        # Its text may hold the address with its password.
        raise Unavailable(
            "source.unavailable", f"the database does not answer: {type(error.orig).__name__}"
        ) from None
    except SQLAlchemyError as error:
        raise Misuse("source.unreadable", f"source: {type(error).__name__}") from None
    finally:
        engine.dispose()


def _check_columns(wanted: Iterable[str], found: Sequence[str]) -> None:
    if lost := [name for name in wanted if name not in found]:
        raise Misuse(
            "source.column", f"the source has no column {', '.join(lost)}", f"it has {', '.join(found)}"
        )


def _collect(columns: Sequence[str], chunks: Iterator[Sequence[Sequence[Any]]]) -> Rows:
    ids: list[str] = []
    seen: list[dict[str | None, int]] = [{} for _ in columns]
    parts: list[list[NDArray[np.int32]]] = [[] for _ in columns]
    for chunk in chunks:
        ids.extend(_patient(row[0]) for row in chunk)
        for k, known in enumerate(seen):
            coded = [known.setdefault(text_of(row[k + 1]), len(known)) for row in chunk]
            parts[k].append(np.array(coded, dtype=np.int32))
    if len(set(ids)) != len(ids):
        raise Misuse(
            "source.duplicate_patient",
            f"{len(ids) - len(set(ids))} rows repeat a patient; the source must have one row per patient",
            "point source.relation at a view with one row per patient",
        )
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
    empty = [np.zeros(0, np.int32)]
    read = {name: Coded(tuple(seen[k]), np.concatenate(parts[k] or empty)) for k, name in enumerate(columns)}
    return Rows(tuple(ids), read).take(order)


def _patient(value: object) -> str:
    text = text_of(value)
    if text is None:
        raise Misuse("source.patient_id", "a row has no patient id")
    return text
