"""A mail server for tests: it answers what it is told to, or not at all."""

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

OK = "250 fine"


@dataclass
class SmtpServer:
    """What it answers, and what came.

    `answers` has a list for a verb, such as `{"RCPT": ["451 later"]}`; each answer is given once, and then `250`.
    `silent` takes connections and says nothing.
    """

    port: int = 0
    answers: dict[str, list[str]] = field(default_factory=dict)
    extensions: tuple[str, ...] = ()
    silent: bool = False
    # TLS from the first byte, or after STARTTLS where that is among the extensions.
    tls: ssl.SSLContext | None = None
    commands: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    connections: int = 0

    def answer(self, verb: str) -> str:
        waiting = self.answers.get(verb)
        done = "235 welcome" if verb == "AUTH" else OK
        return waiting.pop(0) if waiting else done


class _Conversation(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        told: SmtpServer = self.server.told
        told.connections += 1
        if told.silent:
            # Until the other side, or the test, has enough of it.
            self.request.settimeout(10)
            self.request.recv(1)
            return
        if told.tls and "STARTTLS" not in told.extensions:
            self._encrypt(told.tls)
        self._say(told.answers.get("BANNER", ["220 here"])[0])
        while line := self.rfile.readline():
            command = line.decode().strip()
            told.commands.append(command)
            verb = command.partition(" ")[0].upper()
            if not self._obey(told, verb, command):
                return

    def _obey(self, told: SmtpServer, verb: str, command: str) -> bool:
        if verb == "EHLO":
            lines = ["localhost", *told.extensions]
            for line in lines[:-1]:
                self._say(f"250-{line}")
            self._say(f"250 {lines[-1]}")
        elif verb == "STARTTLS" and told.tls:
            self._say("220 go on")
            self._encrypt(told.tls)
        elif verb == "DATA" and not told.answers.get("DATA"):
            self._say("354 go on")
            text = b"".join(iter(self.rfile.readline, b".\r\n")).decode()
            reply = told.answer("BODY")
            if reply == OK:
                told.bodies.append(text)
            self._say(reply)
        else:
            reply = told.answer(verb)
            if verb == "RCPT" and reply == OK:
                told.recipients.append(command.partition("<")[2].rstrip(">"))
            self._say(reply)
            return verb != "QUIT" and not reply.startswith("421")
        return True

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def _encrypt(self, context: ssl.SSLContext) -> None:
        self.request = context.wrap_socket(self.request, server_side=True)
        self.setup()

    def finish(self) -> None:
        super().finish()
        # The server closes the connection that it accepted, and TLS has taken that one's place.
        self.request.close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    told: SmtpServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off is what some tests are about."""


@contextmanager
def smtp_server(**told: Any) -> Iterator[SmtpServer]:
    """One that runs until the end of the block, on 127.0.0.1."""
    with _Server(("127.0.0.1", 0), _Conversation) as server:
        server.told = SmtpServer(port=server.server_address[1], **told)
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        try:
            yield server.told
        finally:
            server.shutdown()
