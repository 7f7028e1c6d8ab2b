"""What Ray needs of the environment before it starts: an address that answers, a home folder.

Ray itself tries a dead address for two minutes and then ends the process with exit code 15 (2.60).
"""

import contextlib
import logging
import os
import pwd
import socket
from pathlib import Path

from ccx_ray.errors import UserError

ANSWER_SECONDS = 5.0
"""How long a head node may take to answer."""
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""The start of every gRPC connection, with empty settings; the server answers with its own."""
SETTINGS = 4
"""Type of that frame, its fourth byte."""
HEAD_NODE_METHOD = "/ray.rpc.NodeInfoGcsService/GetClusterId"
"""Of a head node and no other server of Ray, such as that of Ray Client (10001)."""


def check_address(address: str) -> None:
    """Raise a ``UserError`` unless a head node of Ray answers at ``RAY_ADDRESS``."""
    wanted = "give HOST:PORT of a head node, such as 10.0.0.5:6379, or unset it for a local cluster"
    if address in ("auto", "local"):
        return
    scheme, _, rest = address.rpartition("://")
    if scheme.lower() in ("http", "https"):
        raise UserError(f"RAY_ADDRESS: {address!r} is the address of a dashboard; {wanted}")
    if scheme.lower() == "ray":
        raise UserError(f"RAY_ADDRESS: {address!r} is an address of Ray Client; {wanted}")
    host, _, port = rest.rpartition(":")
    if scheme or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UserError(f"RAY_ADDRESS: {address!r} is not of the form HOST:PORT; {wanted}")
    try:
        # With TLS the preface would be refused; that somebody listens must be enough there.
        uses_tls = os.environ.get("RAY_USE_TLS", "0") not in ("", "0")
        speaks_grpc = _speaks_grpc(host.strip("[]"), int(port))
        is_head = uses_tls or (speaks_grpc and _is_head_node(rest))
    except (OSError, UnicodeError) as error:  # of no name that DNS could have
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"RAY_ADDRESS: {address!r} does not answer ({reason}); {wanted}") from None
    if not is_head:
        raise UserError(
            f"RAY_ADDRESS: {address!r} is not a head node (a dashboard listens on 8265, Ray Client "
            f"on 10001, a head node on 6379); {wanted}"
        )


def _speaks_grpc(host: str, port: int) -> bool:
    with socket.create_connection((host, port), timeout=ANSWER_SECONDS) as connection:
        with contextlib.suppress(TimeoutError, ConnectionError):
            connection.sendall(HTTP2_PREFACE)
            frame = connection.recv(9)
            return len(frame) == 9 and frame[3] == SETTINGS
        return False


def _is_head_node(address: str) -> bool:
    import grpc

    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(address, options) as channel:
        try:
            channel.unary_unary(HEAD_NODE_METHOD)(b"", timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:  # such as of a token, which Ray tells of
            return bool(error.code() is not grpc.StatusCode.UNIMPLEMENTED)
    return True


def token_file() -> Path:
    """Where Ray keeps its token."""
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(named) if named else Path.home() / ".ray" / "auth_token"


def check_home() -> None:
    """Raise a ``UserError`` unless Ray's token can be read or written, and give a user without a
    name one, which torch and Ray ask for."""
    try:
        token = token_file()
    except RuntimeError:
        raise UserError(
            f"HOME: user {os.getuid()} has no home folder for the token of Ray; set HOME to a "
            "writable folder"
        ) from None
    with contextlib.suppress(OSError):
        token.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    can_be_used = os.access(token, os.R_OK) or (
        not token.exists() and os.access(token.parent, os.W_OK)
    )
    if not can_be_used and not os.environ.get("RAY_AUTH_TOKEN"):
        raise UserError(
            f"HOME: {str(token)!r}, Ray's token, can be neither read nor written by user "
            f"{os.getuid()}; set HOME to a folder of your own"
        )
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("USER", f"user-{os.getuid()}")


def close_token_file() -> None:
    """Take Ray's token, which it writes readable by everybody (2.60), from other users.

    Called before a cluster starts, so that a new token's folder is closed, and afterwards.
    """
    token = token_file()
    try:
        token.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.environ.get("RAY_AUTH_TOKEN_PATH"):
            token.parent.chmod(0o700)
        if token.is_file():
            token.chmod(0o600)
    except OSError as error:
        logging.getLogger(__name__).warning(
            "%s: other users keep access (%s)", token, error.strerror
        )
