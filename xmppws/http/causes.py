"""Why requests and connections were refused: stable ids for the log and the metric."""

from enum import StrEnum


class Cause(StrEnum):
    NO_HOST = "no-host"
    TWO_HOSTS = "two-hosts"
    BAD_HOST = "bad-host"
    HOST_UNKNOWN = "host-unknown"
    METHOD = "method"
    HTTP_1_0 = "http-1.0"
    NO_UPGRADE = "no-upgrade"
    NO_CONNECTION = "no-connection"
    BODY = "body"
    VERSION = "version"
    SUBPROTOCOL = "subprotocol"
    KEY = "key"
    ORIGIN = "origin"
    CROWDED = "crowded"
    FULL = "full"
    HOST_FULL = "host-full"
    TOO_FAST = "too-fast"
    TOO_SLOW = "too-slow"
    GONE = "gone"
    STOPPING = "stopping"
    MODULE = "module"
