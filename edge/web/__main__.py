"""`python -m edge.web`: the page that reads action units in a browser, on a laptop or a phone."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import functools
import http.server
import ipaddress
import socket
import ssl
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edge.arguments import add_model
from edge.web.site import site_files, write_site
from tfau.core.errors import require_extra, run_cli

_EPILOG = """
The first start fetches the browser's runtime with npm; later ones need no network. Pictures stay in
the browser: the server only hands out files. A phone needs `--https`, because browsers give a
camera to no other page; its certificate is made for the occasion, so the browser warns once.
`--export` writes the page as a folder that any web host can serve.
"""

HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-cache",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Sent with every file: with the first two of them a page may use threads."""

_TYPES = {
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command until the user stops it.

    Args:
        argv: Words after the program's name; those of the command line if None.

    Raises:
        ValueError: If an argument makes no sense.
        BundleError: If the model cannot be used.
        MissingExtra: If something must be installed first.
        OSError: If the runtime cannot be fetched, or the port is taken.
    """
    parser = argparse.ArgumentParser("python -m edge.web", description=__doc__, epilog=_EPILOG)
    add_model(parser)
    parser.add_argument(
        "--port", type=int, default=8000, help="0 = any that is free (default 8000)"
    )
    parser.add_argument("--host", help="address to listen on (default: this machine only)")
    parser.add_argument(
        "--https",
        action="store_true",
        help="for phones in the same network: all addresses, encrypted",
    )
    parser.add_argument(
        "--export", metavar="DIR", type=Path, help="write the page to DIR, serve nothing"
    )
    arguments = parser.parse_args(argv)
    if not 0 <= arguments.port < 65536:
        raise ValueError(f"`--port` must be 0 to 65535. Received: --port={arguments.port}")
    if arguments.https:
        require_extra("web", "cryptography")

    if arguments.export:
        write_site(arguments.export, site_files(Path(arguments.model)))
        print(f"{arguments.export}: serve this folder over https from any web host")
        return
    host = arguments.host or ("0.0.0.0" if arguments.https else "127.0.0.1")  # noqa: S104
    with tempfile.TemporaryDirectory() as folder:
        server = make_server(host, arguments.port, Path(folder))
        with server:
            if arguments.https:
                secure(server, Path(folder))
            write_site(Path(folder) / "site", site_files(Path(arguments.model)))
            port = server.server_address[1]
            scheme = "https" if arguments.https else "http"
            for name in _addresses(host):
                print(f"{scheme}://{name}:{port}/", flush=True)
            print("Ctrl-C ends it.", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                server.serve_forever()


def make_server(host: str, port: int, folder: Path) -> http.server.ThreadingHTTPServer:
    """Makes a server of `folder`/site that listens already.

    Raises:
        OSError: If the address cannot be had.
    """
    handler = functools.partial(_Handler, directory=str(folder / "site"))
    try:
        return _Server((host, port), handler)
    except OSError as error:
        raise OSError(
            f"{host}:{port} cannot be listened on ({error.strerror}); `--port` chooses another."
        ) from None


def secure(server: http.server.ThreadingHTTPServer, folder: Path) -> None:
    """Makes a server speak https, with a certificate that is made now and signed by nobody."""
    certificate = folder / "certificate.pem"
    certificate.write_bytes(_certificate())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    certificate.unlink()
    # The handshake is left to the thread of each connection: one that stalls holds up no other.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: a browser that hangs up is no error."""


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Hands out the files of one folder."""

    protocol_version = "HTTP/1.1"
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, **_TYPES}

    def end_headers(self) -> None:
        """Adds `HEADERS`."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: object) -> None:
        """Lists no folder."""
        del path
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def _addresses(host: str) -> list[str]:
    """Names the addresses under which a page is reached, this machine's own first."""
    if host not in ("0.0.0.0", "::"):  # noqa: S104
        return [host]
    return ["localhost", *_outward()]


def _outward() -> list[str]:
    """Returns this machine's address in its network, if it has one. Nothing is sent for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address that belongs to nobody, for documentation
        except OSError:
            return []
        return [str(probe.getsockname()[0])]


def _certificate() -> bytes:
    """Makes a key and a certificate for this machine, for a month."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tfau")])
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.DNSName(socket.gethostname())]
    names += [x509.IPAddress(ipaddress.ip_address(a)) for a in ["127.0.0.1", *_outward()]]
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


if __name__ == "__main__":
    sys.exit(run_cli(main))
