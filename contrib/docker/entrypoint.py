#!/opt/xmppws/bin/python
"""What the image runs: `xmppws` with the configuration that MODE names, or the health check of a running one."""

import os
import sys
from collections.abc import Mapping, MutableMapping
from http.client import HTTPConnection, HTTPException

CONFIGURATIONS = "/etc/xmppws"
MODES = ("local", "production")
THIS_MACHINE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
SECONDS_TO_ANSWER = 4


def listen(environment: Mapping[str, str]) -> str:
    """Return where to listen: other containers have to get there, and the port has two names."""
    return environment.get("XMPPWS_HTTP_LISTEN") or f"0.0.0.0:{environment.get('LETSHARE_SERVER_PORT') or 8080}"


def run(arguments: list[str], environment: MutableMapping[str, str]) -> None:
    """Become `xmppws`, so that signals reach it."""
    mode = environment.get("MODE") or MODES[0]
    if mode not in MODES:
        sys.exit(f"MODE is {mode!r}: must be {' or '.join(MODES)}")
    environment["XMPPWS_HTTP_LISTEN"] = listen(environment)
    os.execvpe("xmppws", ["xmppws", *arguments, "-c", f"{CONFIGURATIONS}/{mode}.toml"], environment)


def check_health(environment: Mapping[str, str]) -> None:
    """Exit with 0 when the server takes clients, with what is wrong otherwise."""
    where = listen(environment).partition(",")[0].strip()
    host, _, port = where.rpartition(":")
    host = host.strip("[]")
    try:
        connection = HTTPConnection(THIS_MACHINE.get(host, host), int(port), timeout=SECONDS_TO_ANSWER)
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        said = response.read().decode().strip()
    except (OSError, HTTPException, ValueError) as error:
        sys.exit(f"no answer from {where}: {error}")
    if response.status != 200:
        sys.exit(said)


if __name__ == "__main__":
    if sys.argv[1:] == ["healthcheck"]:
        check_health(os.environ)
    else:
        run(sys.argv[1:], os.environ)
