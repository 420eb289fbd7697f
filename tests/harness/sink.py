#!/usr/bin/python3
"""A real SMTP server for the tests: many sinks in one process, each on ports of its own.

One JSON object a line. Commands come on stdin and are answered on stdout in order; what happens on the wire is
told on stdout as it happens. When stdin ends, the parent is gone: the process ends and removes its directory.

  {"do": "open", "user": null, "password": null}      -> {"sink": 1, "port": 2525, "tls_port": 2526}
  {"do": "open", "user": "ada", "token": "at1"}       -> the same, with a login by XOAUTH2 only
  {"do": "open", "expired": true}                     -> the same, at 127.0.0.2, with the certificate expired.pem
  {"do": "take", "sink": 1, "token": "at2"}           -> {"sink": 1} (from now on this access token, and no other)
  {"do": "behave", "sink": 1, "behaviour": {...}}     -> {"sink": 1}
  {"do": "sync"}                                      -> {}          (all that happened before was told before)
  {"do": "close", "sink": 1}                          -> {"sink": 1}

  {"event": "connected", "sink": 1}
  {"event": "mail", "sink": 1, "path": "/tmp/.../1/000001"}   (.eml: the mail as it came; .json: its envelope)

Behaviours, by "kind": accept; refuse (at, code, text, recipient); delay (millis, before the answer to DATA);
hang (after connect, no greeting); hang_after_data (mail kept, no answer); drop_after_data (mail kept, connection
closed); drop_before_data (closed when DATA is asked for).
"""

import asyncio
import base64
import json
import logging
import os
import shutil
import ssl
import sys
import traceback

from aiosmtpd.smtp import SMTP, AuthResult

LARGEST_MAIL = 64 * 1024 * 1024


def tell(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Sink:
    """One mail server: two ports, one behaviour, mails in the order in which they came."""

    def __init__(self, number, root, command):
        self.number = number
        self.user, self.password, self.token = (command.get(key) for key in ("user", "password", "token"))
        self.folder = os.path.join(root, str(number))
        os.mkdir(self.folder)
        self.behaviour = {"kind": "accept"}
        self.kept = 0
        self.servers = []
        self.connections = set()

    def keep(self, server, session, envelope):
        self.kept += 1
        path = os.path.join(self.folder, "%06d" % self.kept)
        with open(path + ".eml", "wb") as mail:
            mail.write(envelope.original_content)
        with open(path + ".json", "w", encoding="utf-8") as about:
            json.dump({
                "mail_from": envelope.mail_from or "",
                "rcpt_to": envelope.rcpt_tos,
                "tls": server.transport.get_extra_info("ssl_object") is not None,
                "user": session.auth_data if session.authenticated else None,
            }, about)
        tell({"event": "mail", "sink": self.number, "path": path})

    def close(self):
        for server in self.servers:
            server.close()
        for transport in list(self.connections):
            try:
                transport.abort()
            except AttributeError:
                # A TLS transport that is closing has let go of its protocol (Python 3.11), and can't be aborted.
                pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def refusal(self, at, recipient=None):
        """The line that refuses, if this sink refuses at this point of the dialogue."""
        how = self.behaviour
        if how["kind"] != "refuse" or how["at"] != at:
            return None
        if how.get("recipient") not in (None, recipient) or how.get("but", "") == recipient:
            return None
        return "%d %s" % (how["code"], how["text"])

    def authenticate(self, _server, _session, _envelope, _mechanism, data):
        login, password = data.login.decode(), data.password.decode()
        good = (login, password) == (self.user, self.password)
        return AuthResult(success=good, handled=False, auth_data=login)

    async def handle_MAIL(self, _server, _session, envelope, address, options):
        refused = self.refusal("mail", address)
        if refused:
            return refused
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, _server, _session, envelope, address, options):
        refused = self.refusal("rcpt", address)
        if refused:
            return refused
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        refused = self.refusal("data")
        if refused:
            return refused
        kind = self.behaviour["kind"]
        self.keep(server, session, envelope)
        if kind == "drop_after_data":
            server.transport.abort()
            raise ConnectionResetError()
        if kind == "hang_after_data":
            await asyncio.Event().wait()
        if kind == "delay":
            await asyncio.sleep(self.behaviour["millis"] / 1000)
        return "250 OK kept as %d" % self.kept


class Door(SMTP):
    """One connection; the behaviours that the handler hooks of aiosmtpd can't express."""

    sink = None
    hanging = False
    wire = None

    def connection_made(self, transport):
        if self._original_transport is None:  # else it is the same connection after STARTTLS
            self.wire = transport
            self.sink.connections.add(transport)
            tell({"event": "connected", "sink": self.sink.number})
            self.hanging = self.sink.behaviour["kind"] == "hang"
        if not self.hanging:
            super().connection_made(transport)

    def data_received(self, data):
        if not self.hanging:
            super().data_received(data)

    def eof_received(self):
        return False if self.hanging else super().eof_received()

    def connection_lost(self, error):
        self.sink.connections.discard(self.wire)
        if not self.hanging:
            super().connection_lost(error)

    async def auth_XOAUTH2(self, _, args):
        """As Google has it: what a token is refused for comes as one more challenge, and the 535 after its answer."""
        wanted = "user=%s\x01auth=Bearer %s\x01\x01" % (self.sink.user, self.sink.token)
        if len(args) == 2 and base64.b64decode(args[1]).decode() == wanted:
            return AuthResult(success=True, auth_data=self.sink.user)
        await self.challenge_auth('{"status":"401","schemes":"bearer","scope":"https://mail.example.org/"}')
        return AuthResult(success=False, handled=False, message="535 5.7.8 Username and Password not accepted")

    async def smtp_DATA(self, arg):
        if self.sink.behaviour["kind"] == "drop_before_data":
            self.transport.abort()
            raise ConnectionResetError()
        await super().smtp_DATA(arg)


async def open_sink(number, root, context, command):
    sink = Sink(number, root, command)
    by_token = sink.token is not None
    host = "127.0.0.1"
    if command.get("expired"):
        host = "127.0.0.2"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(root, "expired.pem"), os.path.join(root, "expired.key"))
    loop = asyncio.get_running_loop()

    def door(starttls):
        made = Door(
            sink,
            data_size_limit=LARGEST_MAIL,
            enable_SMTPUTF8=True,
            hostname="sink.test",
            tls_context=context if starttls else None,
            authenticator=sink.authenticate,
            auth_required=sink.user is not None,
            auth_require_tls=False,
            auth_exclude_mechanism=["PLAIN", "LOGIN"] if by_token else ["XOAUTH2"],
            loop=loop,
        )
        made.sink = sink
        return made

    plain = await loop.create_server(lambda: door(True), host, 0)
    implicit = await loop.create_server(lambda: door(False), host, 0, ssl=context)
    sink.servers = [plain, implicit]
    return sink


def port(server):
    return server.sockets[0].getsockname()[1]


async def obey(command, sinks, root, context):
    """Does what a command says and returns the answer."""
    if command["do"] == "sync":
        return {}
    if command["do"] == "open":
        number = len(sinks) + 1
        sink = sinks[number] = await open_sink(number, root, context, command)
        return {"sink": number, "port": port(sink.servers[0]), "tls_port": port(sink.servers[1])}
    sink = sinks[command["sink"]]
    if command["do"] == "behave":
        sink.behaviour = command["behaviour"]
    elif command["do"] == "take":
        sink.token = command["token"]
        # Who is logged in by another one logs in again.
        for transport in list(sink.connections):
            transport.abort()
    elif command["do"] == "close":
        sink.close()
    else:
        raise ValueError("no such command")
    return {"sink": sink.number}


async def main():
    root, certificate, key = sys.argv[1:4]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()
    # A client that hangs up is what many tests are about; it is no error of this server.
    loop.set_exception_handler(lambda _loop, _context: None)
    commands = asyncio.StreamReader(limit=1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    sinks = {}
    while True:
        line = await commands.readline()
        if not line:
            break
        # One process serves all tests: what fails in one of them must not end it.
        try:
            tell(await obey(json.loads(line), sinks, root, context))
        except Exception:
            tell({"error": traceback.format_exc()})
    shutil.rmtree(root, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(main())
