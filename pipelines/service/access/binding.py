"""Which address the service listens on, and whose headers about clients it believes."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diarize.errors import ConfigError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class Binding:
    """Where the service is reached. Raises ConfigError, before anything is opened, for what is not safe."""

    host: str = "127.0.0.1"
    port: int = 8750
    certificate: Path | None = None
    private_key: Path | None = None
    proxies: tuple[str, ...] = ()  # addresses or networks whose forwarded headers are believed

    def __post_init__(self) -> None:
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            if self.host != "localhost":
                problem = "is not the address of a network interface"
                raise ConfigError("--host", self.host, problem, "Give an IP address, or localhost.") from None
        if not 0 <= self.port <= 65535:
            raise ConfigError("--port", str(self.port), "a port lies between 0 and 65535")
        if (self.certificate is None) != (self.private_key is None):
            problem = "a certificate and its key go together"
            raise ConfigError("--tls-certificate, --tls-key", "", problem, "Give both.")
        for option, path in (("--tls-certificate", self.certificate), ("--tls-key", self.private_key)):
            if path is not None and not path.is_file():
                raise ConfigError(option, str(path), "there is no such file")
        for proxy in self.proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                cure = "Give the address of the proxy, or its network, as 10.0.0.0/24."
                raise ConfigError("--proxy", proxy, "is no address", cure) from None

    @property
    def is_loopback(self) -> bool:
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    def check(self, keys_exist: bool) -> None:
        """Raises ConfigError where others could reach a service that asks for no key."""
        if not keys_exist and not self.is_loopback:
            problem = "other machines could reach the service, and there are no keys"
            cure = "Make one first: diarize serve keys add --tenant NAME --scopes enrol,verify,identify,read."
            raise ConfigError("--host", self.host, problem, cure)
        if not keys_exist and self.proxies:
            problem = "a proxy brings requests of others, and there are no keys"
            raise ConfigError("--proxy", ", ".join(self.proxies), problem, "Make one first: diarize serve keys add.")


def is_local_request(host: str, origin: str | None, forwarded: Sequence[str]) -> bool:
    """Whether a request without a key comes from a program of this machine, as its headers say.

    Not where a web page sent it (`Origin` of another site), where a name of another site leads here (`Host`, DNS
    rebinding), or where a proxy passed it on.
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name.lower() not in LOOPBACK_NAMES or any(forwarded):
        return False
    return origin is None or origin.partition("://")[2] == host
