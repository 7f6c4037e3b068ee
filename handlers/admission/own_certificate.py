"""A certificate that the platform keeps itself: in one Secret that all replicas share, renewed by whoever comes first.

read the Secret ──► none, or due: make one; who writes first wins, the others read again
      ▲                 │
      │                 ▼
      │             serve it, and tell both webhook configurations which authority to trust
      │                 │
      └── one of the three objects changed, or the certificate is due ◄──┘
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import random
from typing import Any

from matrixinfer.bus.background import end
from matrixinfer.bus.clock import Clock
from matrixinfer.bus.errors import Unavailable
from matrixinfer.handlers.admission.authority import Keyset, made, renewal_s, renewed
from matrixinfer.handlers.admission.configurations import COLLECTIONS, trusting
from matrixinfer.handlers.admission.errors import BadKeyset
from matrixinfer.handlers.admission.named_object import NamedObject
from matrixinfer.handlers.admission.settings import AdmissionSettings
from matrixinfer.handlers.admission.tls import Tls
from matrixinfer.handlers.cluster.kubernetes.backoff import Backoff
from matrixinfer.handlers.cluster.kubernetes.connection import Connection
from matrixinfer.handlers.cluster.kubernetes.errors import Refused

logger = logging.getLogger("matrixinfer.handlers.admission.own_certificate")

LONGEST_SLEEP_S = 86_400.0
_FIELDS = {"bundle": "ca.crt", "authority_key": "ca.key", "certificate": "tls.crt", "key": "tls.key"}
Body = dict[str, Any]


class OwnCertificate:
    def __init__(self, connection: Connection, settings: AdmissionSettings, tls: Tls, clock: Clock) -> None:
        secrets = f"/api/v1/namespaces/{settings.namespace}/secrets"
        self._secret = NamedObject(connection, secrets, settings.secret)
        self._configurations = [NamedObject(connection, path, settings.configuration) for path in COLLECTIONS]
        self._settings = settings
        self._tls = tls
        self._clock = clock

    async def follow(self) -> None:
        """Until cancelled. Raises Misconfigured when no certificate can be made here."""
        backoff = Backoff()
        while True:
            try:
                await self._turn()
                backoff.succeeded()
            except (Unavailable, Refused) as error:
                wait_s = backoff.failed(random.random(), getattr(error, "retry_after_s", None))
                is_race = isinstance(error, Refused) and error.status == 409
                log = logger.info if is_race else logger.warning
                log("the certificate is looked at again in %.1f s: %s", wait_s, error)
                await self._clock.sleep(wait_s)

    async def _turn(self) -> None:
        keyset, version = await self._kept()
        self._tls.serve(keyset.certificate, keyset.key)
        followed = [(self._secret, version)]
        for configuration in self._configurations:
            body, version = await configuration.read()
            changed = trusting(body, keyset.bundle) if body is not None else None
            if changed is not None:
                await configuration.replace(changed)
                logger.info("%s trusts the certificate", configuration.path)
            followed.append((configuration, version))
        await self._until_news(followed, renewal_s(keyset, self._settings.all_names) - self._clock.now())

    async def _kept(self) -> tuple[Keyset, str]:
        """What the Secret holds, after it was made or renewed where that was due."""
        while True:
            body, version = await self._secret.read()
            following = self._following(body)
            if following is None:
                assert body is not None
                return keyset_of(body), version
            await self._write(body, following)

    def _following(self, body: Body | None) -> Keyset | None:
        """What must be written; None when that which is there is good."""
        names, now = self._settings.all_names, self._clock.now()
        if body is None:
            return made(names, now)
        try:
            keyset = keyset_of(body)
            return renewed(keyset, names, now) if renewal_s(keyset, names) <= now else None
        except BadKeyset as error:
            logger.warning("%s is written anew: %s", self._secret.path, error)
            return made(names, now)

    async def _write(self, body: Body | None, keyset: Keyset) -> None:
        content = {"type": "kubernetes.io/tls", "data": secret_data(keyset)}
        try:
            if body is None:
                metadata = {"name": self._settings.secret, "namespace": self._settings.namespace}
                await self._secret.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata} | content)
            else:
                data = {"data": (body.get("data") or {}) | secret_data(keyset)}
                await self._secret.replace({"apiVersion": "v1", "kind": "Secret"} | body | data)
            logger.info("%s has a new certificate", self._secret.path)
        except Refused as refusal:
            if refusal.status != 409:
                raise
            logger.info("another replica was first to write %s", self._secret.path)

    async def _until_news(self, followed: list[tuple[NamedObject, str]], due_s: float) -> None:
        timer = self._clock.sleep(min(max(due_s, 0.0), LONGEST_SLEEP_S))
        tasks = [asyncio.create_task(one.changes(version)) for one, version in followed]
        tasks.append(asyncio.create_task(timer))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(tasks)
        for task in done:
            task.result()


def keyset_of(body: Body) -> Keyset:
    """What a Secret holds. Raises BadKeyset."""
    try:
        fields = {field: base64.b64decode(body["data"][name], validate=True) for field, name in _FIELDS.items()}
    except (KeyError, TypeError, binascii.Error) as error:
        raise BadKeyset(f"expected {', '.join(_FIELDS.values())} in the Secret: {error!r}") from error
    return Keyset(**fields)


def secret_data(keyset: Keyset) -> dict[str, str]:
    return {name: base64.b64encode(getattr(keyset, field)).decode() for field, name in _FIELDS.items()}
