"""HTTPS for the emulator: a throw-away authority and the names Imgur is known by.

Unmodified clients have ``https://api.imgur.com`` built in. With these certificates, and
with the names mapped to this machine, they talk to the emulator instead. The
authority's private key never leaves this process and ends with it: whoever trusts the
certificate trusts nobody afterwards. Used by the command and by tests.
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trustme

API_NAME: Final = "api.imgur.com"
CDN_NAME: Final = "i.imgur.com"
WEB_NAMES: Final = ("imgur.com", "www.imgur.com")
#: Where the commercial API has been sold; both are hard-coded in clients.
COMMERCIAL_NAMES: Final = ("imgur-apiv3.p.mashape.com", "imgur-apiv3.p.rapidapi.com")
HTTPS_PORT: Final = 443
_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
_HOSTS_FILE: Final = Path("/etc/hosts")


@dataclass(frozen=True, slots=True)
class Tls:
    """What a server needs to speak HTTPS, and the file by which clients trust it."""

    context: ssl.SSLContext
    ca_file: Path


def make_tls(directory: Path, *, host: str) -> Tls:
    """Make a new authority and a certificate of it for all names and ``host``.

    Only the authority's certificate is written, to ``ca.pem`` in ``directory``, which
    is created; an earlier one is replaced. Raises OSError.
    """
    authority = trustme.CA(organization_name="imgurfs emulator, throw-away")
    names = (API_NAME, CDN_NAME, *WEB_NAMES, *COMMERCIAL_NAMES, *_LOCAL_NAMES, host)
    certificate = authority.issue_cert(*dict.fromkeys(names))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    certificate.configure_cert(context)
    directory.mkdir(parents=True, exist_ok=True)
    ca_file = directory.resolve() / "ca.pem"
    # Another emulator may be telling its clients of this file right now.
    fresh = ca_file.with_name(".ca.pem.new")
    fresh.write_bytes(authority.cert_pem.bytes())
    fresh.replace(ca_file)
    return Tls(context, ca_file)


def names_mapped_to(address: str, *, hosts_file: Path = _HOSTS_FILE) -> frozenset[str]:
    """Return the names that this machine's hosts file maps to ``address``.

    The wildcard address counts every loopback address as itself. Asking a resolver
    instead could wait, and could answer with the real Imgur. A hosts file that cannot
    be read maps nothing.
    """
    try:
        lines = hosts_file.read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    wanted = ipaddress.ip_address(address)
    found: set[str] = set()
    for line in lines:
        first, *names = line.partition("#")[0].split() or [""]
        try:
            mapped = ipaddress.ip_address(first)
        except ValueError:
            continue
        if mapped == wanted or (wanted.is_unspecified and mapped.is_loopback):
            found.update(name.lower() for name in names)
    return frozenset(found)
