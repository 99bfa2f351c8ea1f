"""The file system of an address."""

from __future__ import annotations

import os
import re
from functools import cache
from typing import Any

from chainette.errors import ConfigError, InputError
from chainette.remote.address import is_web, scheme_of, scrubbed, shown
from chainette.remote.failures import failure
from chainette.text import did_you_mean

_PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs"),
    "hf": "huggingface_hub",
    **dict.fromkeys(("sftp", "ssh"), "paramiko"),
    "smb": "smbprotocol",
    **dict.fromkeys(("github", "gist", "webhdfs"), "requests"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
    "oss": "ossfs",
    "dropbox": "dropboxdrivefs",
}
"""Packages of schemes, as the documentation of fsspec names them ("Built-in Implementations",
"Other Known Implementations")."""
CONNECT, SILENCE = 30, 60
"""Seconds until a server is connected, and those for which it may send nothing."""
_PLAIN = re.compile(r"[!-~]+")


def file_system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it.

    Raises:
        ConfigError: A package is missing.
        InputError: The scheme is unknown, or the address is not one of it.
    """
    scheme = scheme_of(address)
    try:
        import fsspec
    except ImportError:
        more = f" {_PACKAGES[scheme]}" if scheme in _PACKAGES else ""
        raise ConfigError(
            f'{shown(address)}: {scheme}:// needs an extra: pip install "chainette[remote]"{more}'
        ) from None
    if scheme not in (known := {*fsspec.available_protocols(), *fsspec.registry}):
        raise InputError(
            f"{shown(address)}: no file system has the scheme {scheme!r}"
            f"{did_you_mean(scheme, known)}; known are s3, gs, az, hf, https, ftp, sftp and the "
            "others of fsspec"
        )
    try:
        if is_web(address):
            trusted = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
            return _web(bool(_PLAIN.fullmatch(address)), *trusted), address
        system, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        missing = _PACKAGES.get(scheme) or error.name
        way = f"pip install {missing}" if missing else scrubbed(str(error), address)
        raise ConfigError(f"{shown(address)}: {scheme}:// needs a package: {way}") from None
    except Exception as error:  # of many kinds: of the address, of settings, of logging in
        raise failure(address, error) from None
    return system, str(path)


@cache
def _web(is_encoded: bool, file: str | None, folder: str | None) -> Any:
    """The file system of HTTP.

    Args:
        is_encoded: Whether addresses are sent as they are, since another spelling of a signed one
            may have another signature.
        file: A file of certificates to trust; by default, those of certifi.
        folder: A folder of them.
    """
    import ssl

    import certifi
    import fsspec
    from aiohttp import ClientTimeout

    # The library's own limit ends a transfer that takes longer than five minutes.
    timeout = ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENCE)
    options = {"timeout": timeout, "trust_env": True}
    known = None if file or folder else certifi.where()
    trusted = ssl.create_default_context(cafile=file or known, capath=folder or None)
    return fsspec.filesystem("https", client_kwargs=options, encoded=is_encoded, ssl=trusted)
