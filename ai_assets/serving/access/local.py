"""What counts as this machine, for a server that is open."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from ai_assets.serving.access.keys import AccessError

_FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip"})


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether an address, or `localhost`, is of the loopback interface. Other names are not."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


@lru_cache(maxsize=256)
def is_own(address: str) -> bool:
    """Whether an address or origin, as a browser writes it, names the loopback interface.

    Args:
        address: of a `Host` header, such as `localhost:3000`, or of an `Origin`, such as
            `http://[::1]:3000`.
    """
    try:
        host = urlsplit(address if "://" in address else f"//{address}").hostname or ""
    except ValueError:
        return False
    # Browsers never ask a name server for these.
    return is_loopback(host) or host.endswith(".localhost")


def is_elsewhere(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a page of another site asks, or a name of another site leads here.

    A browser runs pages of any site on this machine. It says whose page asks in `Origin`, where
    that matters; and a site whose name is made to mean this machine is found by `Host`. Programs
    that send neither are no browser.
    """
    return any(
        name in (b"origin", b"host") and not is_own(value.decode("latin-1"))
        for name, value in headers
    )


def is_forwarded(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a proxy brought the request: it comes from this machine, who asked may not."""
    return any(name in _FORWARDED for name, _ in headers)


def check_host(host: str, mode: str) -> None:
    """Refuse to listen to others where no key is asked for.

    Raises:
        AccessError: says what to do instead.
    """
    if mode == "open" and not is_loopback(host):
        raise AccessError(
            f"With AI_ASSETS_ACCESS=open the host must be of this machine, such as 127.0.0.1, but "
            f"got {host!r}. Make a key and set AI_ASSETS_ACCESS=keys to answer others."
        )
