"""One attempt to deliver a webhook, against a real server: what is sent, where to, and what the answer means."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from standardwebhooks import WebhookVerificationError

from orchestrator.runtime.url_policy import AddressRules
from tests.support.webhook_receiver import NO_RESPONSE, Receiver, answer, receiving
from workers.webhooks import sender as webhooks
from workers.webhooks.sender import (
    MAX_RETRY_AFTER,
    Answer,
    DeliveryOutcome,
    Notice,
    WebhookSender,
    retry_after,
)

OLD, NEW, FOREIGN = ("whsec_" + letter * 32 for letter in "ABC")
LOOPBACK = AddressRules.of(["127.0.0.0/8"])


@pytest.fixture
async def receiver() -> AsyncGenerator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def sender() -> AsyncGenerator[WebhookSender]:
    sender = WebhookSender(LOOPBACK)
    yield sender
    await sender.aclose()


def _notice(url: str, *secrets: str, body: str = '{"status":"done","why":"née"}') -> Notice:
    return Notice("run-1:3", url, body, secrets or (NEW,))


async def test_a_notice_is_signed_and_says_which_transition_it_is(
    receiver: Receiver, sender: WebhookSender
) -> None:
    given = await sender.send(_notice(receiver.url("/hook?a=b")))
    assert given.outcome is DeliveryOutcome.DELIVERED
    (request,) = receiver.received
    assert request.line == "POST /hook?a=b HTTP/1.1"
    assert request.headers["webhook-id"] == "run-1:3"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.verified(NEW) == {"status": "done", "why": "née"}
    with pytest.raises(WebhookVerificationError):
        request.verified(FOREIGN)


async def test_while_a_secret_is_changed_both_verify(
    receiver: Receiver, sender: WebhookSender
) -> None:
    await sender.send(_notice(receiver.url(), NEW, OLD))
    (request,) = receiver.received
    assert request.verified(NEW) == request.verified(OLD)
    assert request.headers["webhook-signature"].count("v1,") == 2


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_success_is_a_delivery(
    receiver: Receiver, sender: WebhookSender, status: int
) -> None:
    receiver.answers.append(answer(status))
    assert (await sender.send(_notice(receiver.url()))).outcome is DeliveryOutcome.DELIVERED


@pytest.mark.parametrize("status", [400, 401, 404, 408, 409, 422, 500, 502, 504])
async def test_every_failure_is_tried_again_and_its_words_are_kept(
    receiver: Receiver, sender: WebhookSender, status: int
) -> None:
    receiver.answers.append(answer(status, b"not \x00 now\nplease"))
    expected = Answer(DeliveryOutcome.RETRY, f"{status}: not now please")
    assert await sender.send(_notice(receiver.url())) == expected


async def test_gone_is_believed(receiver: Receiver, sender: WebhookSender) -> None:
    receiver.answers.append(answer(410))
    assert await sender.send(_notice(receiver.url())) == Answer(DeliveryOutcome.GONE, "410 Answer")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(
    receiver: Receiver, sender: WebhookSender, status: int
) -> None:
    receiver.answers.append(answer(status, Location="/elsewhere"))
    given = await sender.send(_notice(receiver.url()))
    assert given.outcome is DeliveryOutcome.RETRY
    assert "redirect" in given.reason
    assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_a_receiver_may_ask_for_a_pause(
    receiver: Receiver, sender: WebhookSender, status: int
) -> None:
    receiver.answers.append(answer(status, Retry_After="77"))
    assert (await sender.send(_notice(receiver.url()))).retry_after == 77


async def test_others_may_not_ask_for_a_pause(receiver: Receiver, sender: WebhookSender) -> None:
    receiver.answers.append(answer(500, Retry_After="77"))
    assert (await sender.send(_notice(receiver.url()))).retry_after is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("-5", 0.0),
        ("1.5", 1.5),
        ("999999999", MAX_RETRY_AFTER),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:28:30", 30.0),
        ("Wed, 21 Oct 2020 07:28:30 GMT", 0.0),
        ("Wed, 21 Oct 2099 07:28:30 GMT", MAX_RETRY_AFTER),
        ("inf", None),
        ("nan", None),
        ("", None),
        ("soon", None),
    ],
)
def test_a_pause_is_read_as_seconds_or_as_a_date(value: str, seconds: float | None) -> None:
    now = datetime(2026, 10, 21, 7, 28, 0, tzinfo=UTC)
    assert retry_after(value, now) == seconds


async def test_a_silent_receiver_is_abandoned_after_a_while(receiver: Receiver) -> None:
    sender = WebhookSender(LOOPBACK, seconds=0.2)
    receiver.answers.append(NO_RESPONSE)
    given = await sender.send(_notice(receiver.url()))
    await sender.aclose()
    assert given == Answer(DeliveryOutcome.RETRY, "no answer within 0.2 s")


async def test_an_endless_answer_is_not_read_to_its_end(
    receiver: Receiver, sender: WebhookSender
) -> None:
    size = 50_000_000
    receiver.answers.append(answer(500, b"x" * size))
    given = await sender.send(_notice(receiver.url()))
    assert given.outcome is DeliveryOutcome.RETRY
    assert len(given.reason) < 1_000
    assert receiver.bytes_sent < size


async def test_nobody_there_is_tried_again(receiver: Receiver, sender: WebhookSender) -> None:
    given = await sender.send(_notice("http://127.0.0.1:1/"))
    assert given.outcome is DeliveryOutcome.RETRY
    assert "connection" in given.reason


async def test_two_notices_do_not_share_a_connection(
    receiver: Receiver, sender: WebhookSender
) -> None:
    receiver.answers += [answer(204).replace(b"Connection: close\r\n", b"")] * 2
    await sender.send(_notice(receiver.url()))
    await sender.send(_notice(receiver.url()))
    assert receiver.connections == 2


async def test_proxies_of_the_environment_are_not_asked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    sender = WebhookSender(LOOPBACK)
    assert (await sender.send(_notice(receiver.url()))).outcome is DeliveryOutcome.DELIVERED
    await sender.aclose()


# -- names -----------------------------------------------------------------------------------------


class Names:
    """A resolver that gives these addresses, one list at each question."""

    def __init__(self, *given: Sequence[str]) -> None:
        self._given = list(given)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self._given.pop(0)


async def _send(names: Names, url: str, rules: AddressRules = LOOPBACK) -> Answer:
    sender = WebhookSender(rules, resolve=names)
    try:
        return await sender.send(_notice(url))
    finally:
        await sender.aclose()


async def test_a_name_is_looked_up_once_and_its_checked_address_is_used(receiver: Receiver) -> None:
    """A name that answered with a good address when it was checked has no second chance to answer otherwise."""
    names = Names(["127.0.0.1"])
    given = await _send(names, receiver.url(host="hooks.example"))
    assert given.outcome is DeliveryOutcome.DELIVERED
    assert names.asked == ["hooks.example"]
    assert receiver.received[0].headers["host"] == f"hooks.example:{receiver.port}"


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "169.254.169.254",
        "::1",
        "::ffff:127.0.0.1",
        "fe80::1%eth0",
        "0.0.0.1",
        "fd00::1",
    ],
)
async def test_a_name_that_leads_inside_is_refused_before_anything_is_sent(address: str) -> None:
    given = await _send(Names([address]), "https://hooks.example/")
    assert given.outcome is DeliveryOutcome.RETRY
    assert "hooks.example" in given.reason
    assert "webhooks go to public addresses" in given.reason


async def test_of_several_addresses_only_those_that_may_be_reached_are_tried(
    receiver: Receiver,
) -> None:
    names = Names(["10.0.0.1", "127.0.0.9", "127.0.0.1"])
    given = await _send(names, receiver.url(host="hooks.example"))
    assert given.outcome is DeliveryOutcome.DELIVERED


async def test_a_name_without_addresses_is_tried_again() -> None:
    given = await _send(Names([]), "https://hooks.example/")
    assert given == Answer(DeliveryOutcome.RETRY, "hooks.example: has no address")


async def test_without_allowed_networks_this_machine_is_out_of_reach(receiver: Receiver) -> None:
    closed = AddressRules()
    for url in (receiver.url(), receiver.url(scheme="https"), receiver.url(host="localhost")):
        assert (await _send(Names(["127.0.0.1"]), url, closed)).outcome is DeliveryOutcome.RETRY
    assert receiver.connections == 0


async def test_the_systems_resolver_knows_this_machine() -> None:
    found = await webhooks.look_up("localhost", 80)
    assert all(ipaddress.ip_address(address).is_loopback for address in found)
    assert found


# -- TLS -------------------------------------------------------------------------------------------


def _certificate(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's side of TLS for that name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=pem)


@pytest.mark.parametrize(
    ("host", "verdict"),
    [("hooks.example", DeliveryOutcome.DELIVERED), ("other.example", DeliveryOutcome.RETRY)],
)
async def test_the_certificate_must_be_that_of_the_name_and_not_of_the_address(
    tmp_path: Path, host: str, verdict: DeliveryOutcome
) -> None:
    server, client = _certificate("hooks.example", tmp_path)
    async with receiving(tls=server) as receiver:
        sender = WebhookSender(LOOPBACK, resolve=Names(["127.0.0.1"]), tls=client)
        given = await sender.send(_notice(receiver.url(host=host, scheme="https")))
        await sender.aclose()
    assert given.outcome is verdict
    assert len(receiver.received) == (verdict is DeliveryOutcome.DELIVERED)
