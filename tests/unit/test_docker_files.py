"""The image and its neighbours in contrib/docker are what they should be, as far as files tell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from docker_files import (
    DOCKER,
    ROOT,
    compose,
    copies,
    dockerfile,
    environment,
    ignore_patterns,
    is_ignored,
    named,
    stages,
)
from xmppws.config import load

BUILD, FINAL = dockerfile()
PINNED = re.compile(r"[\w./-]+:\d+\.\d+(?:\.\d+)?(?:-[\w.-]+)?")
SECRET = re.compile(r"secret|token|password|passwd|_key", re.IGNORECASE)
MODES = ("local", "production")


def services(**variables: str) -> dict[str, Any]:
    found: dict[str, Any] = compose(variables)["services"]
    return found


def test_what_it_is_built_from_is_pinned() -> None:
    bases = [stage[0].text.partition(" AS ")[0] for stage in (BUILD, FINAL)]
    images = [service["image"] for service in services().values()]
    assert [name for name in (*bases, *images) if not PINNED.fullmatch(name)] == []


def test_it_runs_as_an_ordinary_user_whose_number_is_fixed() -> None:
    (user,) = named(FINAL, "USER")
    assert re.fullmatch(r"[1-9]\d{4}:[1-9]\d{4}", user.text)
    # After USER nothing is written any more.
    after = FINAL[FINAL.index(user) :]
    assert not named(after, "RUN") and not named(after, "COPY")
    owner = "-o {} -g {}".format(*user.text.split(":"))
    data, *_ = (word for each in named(FINAL, "VOLUME") for word in each.words)
    assert any(owner in each.text and data in each.text for each in named(FINAL, "RUN"))
    assert environment(FINAL)["XMPPWS_DATA_DIR"] == data


def test_nothing_that_builds_is_left_in_it() -> None:
    run = " ".join(each.text for each in named(FINAL, "RUN"))
    assert not re.search(r"apt-get|apk |pip install|gcc|build-essential|curl|wget", run)
    assert "pip uninstall --yes --root-user-action=ignore setuptools wheel pip" in run


def test_its_health_is_checked_by_what_is_in_it() -> None:
    (check,) = named(FINAL, "HEALTHCHECK")
    _, _, command = check.text.partition("CMD ")
    targets = [target for _, target in copies(FINAL)]
    (entrypoint,) = named(FINAL, "ENTRYPOINT")
    (program,) = entrypoint.words
    assert f"/opt/xmppws/bin/{program}" in targets
    assert json.loads(command) == [program, "healthcheck"]
    assert environment(FINAL)["PATH"] == "/opt/xmppws/bin:$PATH"
    assert (DOCKER / "entrypoint.py").read_text(encoding="utf-8").startswith("#!/opt/xmppws/bin/python\n")


def test_what_is_copied_is_there_and_let_through() -> None:
    patterns = ignore_patterns()
    for source, _ in copies(BUILD) + copies(FINAL):
        assert (ROOT / source).exists()
        assert not is_ignored(source, patterns), source
    for path in (".git/config", "var/xmppws.sqlite", ".env", "contrib/docker/.env", "xmppws/core/__pycache__/a.pyc"):
        assert is_ignored(path, patterns), path


def test_no_secret_is_in_it() -> None:
    for stage in (BUILD, FINAL):
        assert not named(stage, "ARG") and not named(stage, "ADD")
        assert not [name for name in environment(stage) if SECRET.search(name)]
    given = services()["xmppws"]["environment"]
    assert [name for name in given if SECRET.search(name)] == ["XMPPWS_METRICS_TOKEN", "LETSHARE_JWT_SECRET"]
    assert not [name for name, value in given.items() if SECRET.search(name) and value is not None]
    production = load(ROOT / "conf" / "production.toml")
    assert not production.metrics.token and not production.jwt.secret and not production.jwt.allow_weak_secret


def test_files_with_lines_that_go_on_are_read_as_docker_reads_them() -> None:
    (first, second) = stages("# x\nFROM a:1 AS b\nRUN x \\\n && y\n\nFROM c:2\nENV A=1 \\\n    B=2\n")
    assert [each.text for each in first] == ["a:1 AS b", "x && y"]
    assert environment(second) == {"A": "1", "B": "2"}


@pytest.mark.parametrize("name", ["xmppws", "nginx"])
def test_a_service_may_no_more_than_it_must(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and "cap_add" not in service and "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service.get("user") or named(FINAL, "USER")[0].text)
    assert "healthcheck" in service or name == "xmppws"


def test_what_it_has_to_write_to_is_its_own() -> None:
    uid, gid = named(FINAL, "USER")[0].text.split(":")
    service = services()["xmppws"]
    assert f"/run/xmppws:uid={uid},gid={gid},mode=0750" in service["tmpfs"]
    assert f"data:{environment(FINAL)['XMPPWS_DATA_DIR']}" in service["volumes"]


def test_only_this_nginx_is_believed_who_the_clients_are() -> None:
    addresses = {name: service["networks"]["chat"]["ipv4_address"] for name, service in services().items()}
    assert services()["xmppws"]["environment"]["XMPPWS_HTTP_TRUSTED_PROXIES"] == addresses["nginx"]
    (network,) = compose()["networks"]["chat"]["ipam"]["config"]
    assert all(ip_address(each) in ip_network(network["subnet"]) for each in addresses.values())
    assert "ports" not in services()["xmppws"]


@pytest.mark.parametrize("mode", MODES)
def test_mode_chooses_the_configuration_of_both(mode: str) -> None:
    both = services(MODE=mode)
    assert both["xmppws"]["environment"]["MODE"] == mode
    assert f"/etc/xmppws-nginx/{mode}.conf" in both["nginx"]["entrypoint"]
    assert (DOCKER / "nginx" / f"{mode}.conf").is_file()
    assert f"conf/{mode}.toml" in [source for source, _ in copies(FINAL)]


def test_without_settings_nobody_but_this_machine_gets_there() -> None:
    assert services()["xmppws"]["environment"]["MODE"] == environment(FINAL)["MODE"] == "local"
    assert services()["nginx"]["ports"] == ["127.0.0.1:8080:8080", "127.0.0.1:8443:8443"]
    assert services(LETSHARE_SERVER_PORT="9000")["nginx"]["ports"][0] == "127.0.0.1:9000:8080"
    assert services(PUBLISH_HTTP="80", PUBLISH_HTTPS="443")["nginx"]["ports"] == ["80:8080", "443:8443"]


def test_directories_that_it_mounts_are_there() -> None:
    volumes = compose()["volumes"]
    for service in services().values():
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert (DOCKER / source).is_dir() if "/" in source else source in volumes, volume
    assert "/srv/tls:/etc/nginx/certificates:ro" in services(CERTIFICATES="/srv/tls")["nginx"]["volumes"]


def test_hadolint_has_nothing_to_say() -> None:
    run("hadolint", "--failure-threshold", "warning", str(DOCKER / "Dockerfile"))


@pytest.mark.parametrize("mode", MODES)
def test_docker_reads_the_compose_file(mode: str) -> None:
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is missing; to run this test: apt-get install docker-compose-plugin")
    run("docker", "compose", "-f", str(DOCKER / "compose.yaml"), "config", "--quiet", MODE=mode)


def run(name: str, *arguments: str, **variables: str) -> None:
    """Run a program that may be missing, and has to succeed where it is not."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is missing")
    done = subprocess.run(
        [program, *arguments],
        env={"PATH": str(Path(program).parent), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout
