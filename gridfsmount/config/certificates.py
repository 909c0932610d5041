"""Files with certificates and secrets, looked at before others do: the driver's words name none.

It also would ask the terminal for the passphrase of a key, where nobody may be.
"""

import stat
from pathlib import Path


def open_to_others(path: Path, mode: int) -> str:
    """Why a file of that mode is no place for a secret; empty if it is one."""
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        return f"{path} holds a secret and everybody may read or change it: chmod o-rw {path}"
    return ""


def unfit_authority(path: Path) -> str:
    """Why a file cannot have the certificates of an authority; empty if it has."""
    import ssl  # of use to few, and slow to come

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return f"{path} holds no certificate in the PEM format"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return ""


def unfit_certificate(path: Path, passphrase: str | None) -> str:
    """Why a file cannot have a client's certificate and its key; empty if it has."""
    import ssl

    def told() -> str:  # without a function OpenSSL would ask
        if passphrase is None:
            raise _Encrypted
        return passphrase

    try:
        mode = path.stat().st_mode
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(path, password=told)
    except _Encrypted:
        return (
            f"{path}: the key in it is encrypted: add tlsCertificateKeyFilePassword to the "
            "address, or take a file without a passphrase that only its owner may read"
        )
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"{path}: the key in it is not that of the certificate"
        if passphrase is not None:
            return f"{path}: its key cannot be read: is tlsCertificateKeyFilePassword right?"
        return f"{path} should hold a private key and its certificate in the PEM format"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return open_to_others(path, mode)


class _Encrypted(Exception):
    """A key is encrypted."""
