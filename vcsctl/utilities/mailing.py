"""Sends one mail through the SMTP server that the settings name. Never tries again: who calls knows when."""

from __future__ import annotations

import contextlib
import os
import re
import smtplib
import ssl
import stat
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, localtime, make_msgid
from typing import Annotated

from vcsctl.domain import values
from vcsctl.domain.parsed import Duration, FieldError, Parsed
from vcsctl.errors import VcsError
from vcsctl.utilities.settings import list_of, parse_plain_path

_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+")
_HOST = re.compile(r"[A-Za-z0-9.:_-]+")
_PORTS = {"none": 25, "starttls": 587, "tls": 465}


class MailError(VcsError):
    """The mail did not go out."""


def _parse_address(value: object) -> str:
    text = values.text_of(value)
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"cannot read {text!r} as a mail address; write for example operator@example.com")
    return text


def _parse_host(value: object) -> str:
    text = values.text_of(value)
    if not _HOST.fullmatch(text):
        raise ValueError(f"cannot read {text!r} as a host; write a name or an address such as mail.example.com")
    return text


def _parse_user(value: object) -> str:
    text = values.text_of(value)
    if not text.isprintable() or not text:
        raise ValueError("must be printable; write the account's name")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """How, from whom and to whom."""

    host: Annotated[str, Parsed(_parse_host)]
    port: Annotated[int, Parsed(values.WholeNumber(1, 65535))] | None = None
    security: Annotated[str, Parsed(values.OneOf("none", "starttls", "tls"))] = "none"
    ca_file: Annotated[str, Parsed(parse_plain_path)] | None = None
    user: Annotated[str, Parsed(_parse_user)] | None = None
    password_file: Annotated[str, Parsed(parse_plain_path)] | None = None
    sender: Annotated[str, Parsed(_parse_address)]
    recipients: Annotated[tuple[str, ...], Parsed(list_of(_parse_address))]
    timeout: Duration = 30.0

    def __post_init__(self) -> None:
        if (self.user is None) != (self.password_file is None):
            raise FieldError("user" if self.user else "password_file", "needs user and password_file together")
        if self.user and self.security == "none":
            raise FieldError("user", "would send its password unprotected; write security: starttls or tls")

    @property
    def server(self) -> tuple[str, int]:
        return self.host, self.port or _PORTS[self.security]


def message(mail: Mail, node: str, subject: str, text: str) -> EmailMessage:
    made = EmailMessage()
    made["From"] = mail.sender
    made["To"] = ", ".join(mail.recipients)
    made["Subject"] = subject
    made["Date"] = format_datetime(localtime())
    made["Message-ID"] = make_msgid(domain=node)
    made["Auto-Submitted"] = "auto-generated"  # keeps holiday notices away
    made.set_content(text)
    return made


def send(mail: Mail, node: str, made: EmailMessage) -> list[str]:
    """The recipients that the server refused, each with its reason. Raises MailError when nobody gets the mail."""
    host, port = mail.server
    password = _password(mail.password_file) if mail.password_file else ""
    try:
        server = _connect(mail, node)
        try:
            if mail.user:
                server.login(mail.user, password)
            refused = server.send_message(made, mail.sender, list(mail.recipients))
        except BaseException:
            server.close()
            raise
        # The server has taken the mail: a farewell that fails does not unsend it.
        with contextlib.suppress(OSError):
            server.quit()
    except smtplib.SMTPRecipientsRefused as error:
        raise MailError(f"cannot send mail by {host}:{port}: {'; '.join(_reasons(error.recipients))}") from None
    except smtplib.SMTPResponseException as error:
        said = error.smtp_error if isinstance(error.smtp_error, str) else error.smtp_error.decode(errors="replace")
        raise MailError(f"cannot send mail by {host}:{port}: the server says {error.smtp_code} {said}") from None
    except UnicodeError as error:
        raise MailError(f"cannot send mail by {host}:{port}: its name, the user or the password: {error}") from None
    except OSError as error:
        raise MailError(f"cannot send mail by {host}:{port}: {error.strerror or str(error) or 'no answer'}") from None
    return _reasons(refused)


def _connect(mail: Mail, node: str) -> smtplib.SMTP:
    # The node's own name is given: smtplib would ask the name service for it, and wait.
    host, port = mail.server
    if mail.security == "none":
        return smtplib.SMTP(host, port, local_hostname=node, timeout=mail.timeout)
    context = ssl.create_default_context(cafile=mail.ca_file)
    if mail.security == "tls":
        return smtplib.SMTP_SSL(host, port, local_hostname=node, timeout=mail.timeout, context=context)
    server = smtplib.SMTP(host, port, local_hostname=node, timeout=mail.timeout)
    try:
        server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server


def _password(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o007:
                raise MailError(f"cannot use {path}: everybody can read it; take the right away (chmod o= {path})")
            return file.read().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise MailError(f"cannot read the password in {path}: {error}") from None


def _reasons(refused: dict[str, tuple[int, bytes]]) -> list[str]:
    return [f"{who} is refused: {code} {said.decode(errors='replace')}" for who, (code, said) in refused.items()]
