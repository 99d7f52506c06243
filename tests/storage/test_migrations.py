"""The migrations make what the code expects, once, for all processes that start."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from messagelog.storage import UserRow, open_store, schema, transactions
from messagelog.storage.database import migrate, schema_version
from messagelog.storage.migrate import MIGRATIONS, alchemy_url, upgrade
from messagelog.storage.urls import SCHEMA_VERSION, UnknownDatabase, sqlite_path
from storage.journal import KEY, everything, run_sql

if TYPE_CHECKING:
    from pathlib import Path


def test_the_migrations_make_the_schema(fresh_url: str) -> None:
    migrate(fresh_url)
    engine = sa.create_engine(alchemy_url(fresh_url), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "compare_server_default": True}
            )
            assert compare_metadata(context, schema.metadata) == []
            made = sa.inspect(connection)
            for table in schema.metadata.sorted_tables:
                key = [column.name for column in table.primary_key]
                assert made.get_pk_constraint(table.name)["constrained_columns"] == key
            due = {index["name"]: index for index in made.get_indexes("conversationLogs")}[
                "conversationLogsDue"
            ]
            assert any(name.endswith("_where") for name in due["dialect_options"]), (
                "an index of those that wait"
            )
    finally:
        engine.dispose()


async def test_a_migrated_database_schema_version_and_one_before_is_not(fresh_url: str) -> None:
    assert schema_version(fresh_url) != SCHEMA_VERSION
    migrate(fresh_url)
    assert schema_version(fresh_url) == SCHEMA_VERSION
    store = await open_store(fresh_url)
    assert (await store.read(lambda: transactions.look_up_plain(KEY, ["1"]))).unlogged == frozenset("1")
    await store.close()


def test_the_newest_migration_is_the_version_that_is_asked_for() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == SCHEMA_VERSION


def test_a_server_does_without_what_only_a_migration_needs() -> None:
    code = "import sys, messagelog.cli; sys.exit('sqlalchemy' in sys.modules or 'alembic' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_asking_makes_no_file(tmp_path: Path) -> None:
    assert schema_version(f"sqlite:///{tmp_path / 'none.sqlite'}") is None
    assert list(tmp_path.iterdir()) == []


def test_migrating_again_changes_nothing(fresh_url: str) -> None:
    migrate(fresh_url)
    run_sql(
        fresh_url,
        """INSERT INTO "users" ("tenant", "platform", "id", "name", "hostname", "createdAt", "updatedAt")
           VALUES ('acme', 'crm', 'ada', 'Ada', '', 1, 1)""",
    )
    before = everything(fresh_url)
    migrate(fresh_url)
    assert schema_version(fresh_url) == SCHEMA_VERSION
    assert everything(fresh_url) == before


async def test_users_of_before_there_were_sessions_stay_signed_in(fresh_url: str) -> None:
    upgrade(fresh_url, "0001")
    run_sql(
        fresh_url,
        """INSERT INTO "users" ("tenant", "platform", "id", "name", "hostname", "createdAt", "updatedAt")
           VALUES ('acme', 'crm', 'ada', 'Ada', '', 1, 1)""",
    )
    migrate(fresh_url)
    store = await open_store(fresh_url)
    ada = await store.read(lambda: transactions.find_user("acme", "crm", "ada"))
    await store.close()
    assert ada == UserRow(
        "acme", "crm", "ada", "Ada", "", None, None, None, created_at=1, updated_at=1, crm_tenant="acme"
    )


async def test_settings_of_language_and_zone_are_taken_over_under_our_ids(fresh_url: str) -> None:
    upgrade(fresh_url, "0009")
    rows = [
        ("ada", "language", '{"value": "es"}'),
        ("ada", "autoLogSMS", '{"value": true}'),
        ("otto", "timezone", '{"value": "Asia/Tokyo"}'),
        ("otto", "messagelogTimezone", '{"value": "Europe/Paris"}'),
    ]
    for user, id_, setting in rows:
        run_sql(
            fresh_url,
            f"""INSERT INTO "userSettings" ("tenant", "platform", "userId", "settingId", "setting", "updatedAt")
               VALUES ('acme', 'crm', '{user}', '{id_}', '{setting}', 1)""",  # noqa: S608 - values of this test
        )
    run_sql(
        fresh_url,
        """INSERT INTO "adminSettings" ("tenant", "platform", "settingId", "setting", "updatedAt")
           VALUES ('acme', 'crm', 'language', '{"value": "ja"}', 1)""",
    )
    migrate(fresh_url)
    store = await open_store(fresh_url)
    ada, admins = await store.read(lambda: transactions.read_settings("acme", "crm", "ada"))
    otto, _ = await store.read(lambda: transactions.read_settings("acme", "crm", "otto"))
    await store.close()
    assert ada == {"messagelogLanguage": '{"value": "es"}', "autoLogSMS": '{"value": true}'}
    assert otto == {
        "timezone": '{"value": "Asia/Tokyo"}',
        "messagelogTimezone": '{"value": "Europe/Paris"}',
    }
    assert admins == {"messagelogLanguage": '{"value": "ja"}'}


def _row_of(table: sa.Table, tenant: str) -> dict[str, object]:
    """A row of a tenant's, with something in every column."""
    values: dict[str, object] = {}
    for column in table.columns:
        number = isinstance(column.type, sa.Integer)
        filler: object = 1 if number else b"x" if isinstance(column.type, sa.LargeBinary) else "x"
        values[column.name] = False if isinstance(column.type, sa.Boolean) else filler
    return values | {"tenant": tenant, "platform": "crm"}


def test_tenants_of_before_take_the_hosts_of_their_users(fresh_url: str) -> None:
    before_it = ScriptDirectory(str(MIGRATIONS)).get_revision("0012").down_revision
    assert isinstance(before_it, str)
    upgrade(fresh_url, before_it)
    engine = sa.create_engine(alchemy_url(fresh_url), poolclass=sa.NullPool)
    before = sa.MetaData()
    before.reflect(engine)
    owned = [table for table in before.sorted_tables if {"tenant", "platform"} <= set(table.columns.keys())]
    assert len(owned) > 8
    with engine.begin() as connection:
        for table in owned:
            row = _row_of(table, f"only in {table.name}")
            connection.execute(table.insert().values(row))
        users = before.tables["users"]
        for id_, hostname in (("ada", "crm.test"), ("ben", "crm.test"), ("eve", "other.test"), ("max", "")):
            row = _row_of(users, "acme") | {"id": id_, "hostname": hostname}
            connection.execute(users.insert().values(row))
    held = {table.name: run_sql(fresh_url, f'SELECT * FROM "{table.name}"') for table in owned}  # noqa: S608 - our own names
    engine.dispose()
    upgrade(fresh_url, "0012")
    found = run_sql(fresh_url, 'SELECT "tenant", "crmTenant", "host", "platform" FROM "tenants"')
    # The record names tenants that were erased as well.
    unseen = {f"only in {table.name}" for table in owned} - {"only in users", "only in audit"}
    assert sorted(found) == sorted(
        [("acme", "acme", host, "crm") for host in ("crm.test", "other.test", "")]
        + [("only in users", "only in users", "x", "crm")]
        + [(name, name, "?", "crm") for name in unseen]
    )
    for name, rows in held.items():
        assert run_sql(fresh_url, f'SELECT * FROM "{name}"') == rows, "and nothing else is changed"  # noqa: S608 - our own names


def test_several_may_migrate_at_once(fresh_url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        for each in [threads.submit(migrate, fresh_url) for _ in range(4)]:
            each.result()
    assert schema_version(fresh_url) == SCHEMA_VERSION
    assert run_sql(fresh_url, "SELECT COUNT(*) FROM alembic_version") == [(1,)]


def test_two_processes_may_migrate_at_once(fresh_url: str) -> None:
    code = "import sys; from messagelog.storage.database import migrate; migrate(sys.argv[1])"
    processes = [
        subprocess.Popen([sys.executable, "-c", code, fresh_url], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert schema_version(fresh_url) == SCHEMA_VERSION


def test_a_migration_that_fails_leaves_nothing(fresh_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_args: object, **_more: object) -> None:
        raise RuntimeError("killed between a table and its index")

    with monkeypatch.context() as patched:
        patched.setattr("alembic.op.create_index", fails)
        with pytest.raises(RuntimeError):
            migrate(fresh_url)
    engine = sa.create_engine(alchemy_url(fresh_url), poolclass=sa.NullPool)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()
    migrate(fresh_url)
    assert schema_version(fresh_url) == SCHEMA_VERSION


def test_an_older_schema_is_not_current(fresh_url: str) -> None:
    migrate(fresh_url)
    run_sql(fresh_url, "UPDATE alembic_version SET version_num = '0000'")
    assert schema_version(fresh_url) != SCHEMA_VERSION


def test_an_url_names_its_file_as_it_is() -> None:
    assert str(sqlite_path("sqlite:///a b/%20?.db")) == "a b/%20?.db"
    assert alchemy_url("sqlite:////var/%20?.db").database == "/var/%20?.db"


def test_a_password_may_hold_any_character() -> None:
    password = "p@ss:w/rd %?#"
    url = alchemy_url(f"postgres://ada:{quote(password, safe='')}@db.example:5433/journal?sslmode=require")
    assert (url.password, url.host, url.port, url.database) == (password, "db.example", 5433, "journal")
    assert url.get_driver_name() == "psycopg"


def test_a_file_is_left_in_wal_mode(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    migrate(url)
    assert run_sql(url, "PRAGMA journal_mode") == [("wal",)]


def test_ids_are_compared_by_their_bytes(fresh_postgres: str) -> None:
    migrate(fresh_postgres)
    found = run_sql(
        fresh_postgres,
        """SELECT DISTINCT collation_name FROM information_schema.columns
           WHERE table_schema = 'public' AND column_name IN ('tenant', 'platform', 'id', 'conversationLogId')
             AND table_name <> 'alembic_version'""",
    )
    assert found == [("C",)]


@pytest.mark.parametrize(
    "url", ["mysql://host/db", "sqlite://", "sqlite:///", "sqlite:///:memory:", "journal.sqlite", ""]
)
async def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(UnknownDatabase):
        migrate(url)
    with pytest.raises(UnknownDatabase):
        schema_version(url)
    with pytest.raises(UnknownDatabase):
        await open_store(url)
