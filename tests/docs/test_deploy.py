"""The files of deploy/ name only files that exist, and give a server valid settings. No image is built here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from canaries.commands import every_command
from docs.pages import ROOT
from messagelog.environment import load_env_file, unknown_names
from messagelog.server import create_app
from messagelog.server.context import ServerConfig
from messagelog.settings import examine_for_serving, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = ROOT / "deploy"
COMMAND = Path(sys.prefix) / "bin" / "messagelog"
INSTALLED = "/opt/messagelog/.venv/bin/messagelog"
SECRET = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Provide an environment without settings, and restore it after the test."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("MESSAGELOG_")]:
        del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


def problems() -> list[str]:
    """Return what keeps a server from starting with the settings of the environment, and unknown names."""
    settings = read_settings()
    connectors, found = examine_for_serving(settings)
    return [*found, *map(str, unknown_names(settings, connectors))]


def test_the_example_of_settings_is_good_but_for_what_has_to_be_filled_in() -> None:
    load_env_file(DEPLOY / "settings.example")
    secret, connector = problems()
    assert secret.startswith("MESSAGELOG_SECRET_KEY is missing")
    assert connector.startswith("MESSAGELOG_CONNECTORS: my_package.my_module:MyCrm cannot be loaded")


# ---------------------------------------------------------------------------------------------- systemd


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    units = sorted([*DEPLOY.glob("*.service"), *DEPLOY.glob("*.timer")])
    assert len(units) == 3
    for unit in units:
        (tmp_path / unit.name).write_text(unit.read_text().replace(INSTALLED, str(COMMAND)))
    done = subprocess.run(
        [program, "verify", *(str(tmp_path / unit.name) for unit in units)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_units_run_commands_that_there_are() -> None:
    run = [
        match[1]
        for unit in DEPLOY.glob("*.service")
        for match in re.finditer(rf"{INSTALLED} (\w+)", unit.read_text())
    ]
    assert sorted(run) == ["backup", "migrate", "serve"]
    assert set(run) <= every_command()


# --------------------------------------------------------------------------------------------- containers


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, each with its arguments."""
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    return [(line.split()[0], line.partition(" ")[2]) for line in lines if line and not line.startswith("#")]


def test_the_image_is_made_of_files_that_it_is_given() -> None:
    given = {
        line.removeprefix("!")
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = [
        source
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert {source.partition("/")[0] for source in copied} == given
    for source in copied:
        assert (ROOT / source).exists(), source
    installed = [
        name for kind, rest in instructions() if kind == "RUN" for name in re.findall(r"-r (\S+)", rest)
    ]
    assert installed
    assert set(installed) <= set(copied)


def test_the_image_runs_the_command_and_asks_a_route_that_there_is() -> None:
    told = dict(instructions())
    assert json.loads(told["ENTRYPOINT"]) == ["messagelog"]
    assert json.loads(told["CMD"])[0] in every_command()
    (path,) = re.findall(r"127\.0\.0\.1:8787(/\w+)", told["HEALTHCHECK"])
    app = create_app(ServerConfig(database_url="", secret_key="", connectors={}, public_url=""))
    assert path in app.openapi()["paths"]
    assert "messagelog" in told["USER"]


@pytest.fixture
def compose_file() -> Any:
    """Return the compose file, with a password in it."""
    text = (DEPLOY / "compose.yaml").read_text()
    return yaml.safe_load(re.sub(r"\$\{POSTGRES_PASSWORD:\?[^}]*\}", "secret", text))


def test_a_server_takes_the_settings_of_the_containers(compose_file: Any) -> None:
    for name in ("migrate", "server"):
        service = compose_file["services"][name]
        os.environ.update(service["environment"])
        assert service["command"][0] in every_command()
        assert service["env_file"] == "settings"
    image = dict(rest.split("=", 1) for kind, rest in instructions() if kind == "ENV")
    os.environ["MESSAGELOG_HOST"] = image["MESSAGELOG_HOST"]
    os.environ["MESSAGELOG_SECRET_KEY"] = SECRET
    os.environ["MESSAGELOG_CONNECTORS"] = "demo"
    os.environ["MESSAGELOG_DEMO_CRM_URL"] = "http://127.0.0.1:8788/demo-crm/api"
    load_env_file(DEPLOY / "settings.example")
    assert problems() == []
    assert image["PYTHONPATH"] in compose_file["services"]["server"]["volumes"][0]


def test_the_containers_wait_for_each_other(compose_file: Any) -> None:
    services, volumes = compose_file["services"], compose_file["volumes"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= services.keys()
        named = [volume.partition(":")[0] for volume in service["volumes"]]
        assert {name for name in named if not name.startswith(".")} <= volumes.keys()
        assert set(service["networks"]) <= compose_file["networks"].keys()
    assert services["server"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert services["server"]["stop_grace_period"] == "30s"
    dockerfile = DEPLOY / services["server"]["build"]["context"] / services["server"]["build"]["dockerfile"]
    assert dockerfile.resolve() == DEPLOY / "Dockerfile"
