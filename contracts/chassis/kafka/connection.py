"""How the broker is reached, and which topics it has."""

# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, NoError, TopicAlreadyExistsError, for_code
from aiokafka.helpers import create_ssl_context
from aiokafka.protocol.api import Response

from contracts.chassis.errors import Unavailable
from contracts.chassis.settings import KafkaSettings

RETRY_BACKOFF_MS = 300
"""Between two questions to a broker that does not answer; the default of 100 is a busy loop of log lines."""
_LOOKS, _LOOK_SECONDS = 20, 0.25
"""How often, and how far apart, a new topic is looked for."""


async def ensure_topics(settings: KafkaSettings, topics: Iterable[str]) -> Mapping[str, int]:
    """Each topic exists; the number of its partitions, which may not be the one we asked for.

    Raises Unavailable when the broker does not answer, or does not make a topic: then with its reason."""
    wanted = list(topics)
    async with _admin(settings) as admin:
        new = [NewTopic(topic, settings.partitions, settings.replication) for topic in wanted]
        refusals: Mapping[str, str] = {}
        # librdkafka's mock cluster has no controller; it makes a topic, of four partitions, at the first
        # question about it, which is the next line.
        with suppress(AttributeError):
            refusals = refusals_in(await admin.create_topics(new))
        # A broker says that a topic was made before all its brokers know of it.
        for _ in range(_LOOKS - 1):
            with suppress(Unavailable):
                return await _partitions(admin, wanted)
            await asyncio.sleep(_LOOK_SECONDS)
        return await _partitions(admin, wanted, refusals)


def refusals_in(answer: Response) -> dict[str, str]:
    """Why each topic was not made that is not there already.

    A client without the right to make any may be told so of a topic that exists."""
    outcomes: list[dict[str, Any]] = answer.to_object()["topic_errors"]
    return {
        str(each["topic"]): for_code(each["error_code"]).__name__
        for each in outcomes
        if each["error_code"] not in (NoError.errno, TopicAlreadyExistsError.errno)
    }


async def cluster_id(settings: KafkaSettings) -> str:
    """The name of the cluster behind the address; a new one means that its records are new as well.

    Raises Unavailable when the broker does not answer."""
    async with _admin(settings) as admin:
        return str((await admin.describe_cluster())["cluster_id"])


async def partitions_of(settings: KafkaSettings, topics: Iterable[str]) -> Mapping[str, int]:
    """The number of partitions of each topic. Raises Unavailable when the broker does not answer."""
    async with _admin(settings) as admin:
        return await _partitions(admin, list(topics))


async def _partitions(
    admin: AIOKafkaAdminClient, topics: list[str], refusals: Mapping[str, str] = MappingProxyType({})
) -> Mapping[str, int]:
    found: list[dict[str, Any]] = await admin.describe_topics(topics)
    counts = {str(each["topic"]): len(each["partitions"]) for each in found if not each["error_code"]}
    missing = sorted(set(topics) - {topic for topic, count in counts.items() if count})
    if missing:
        told = [f"{topic} ({refusals[topic]})" if topic in refusals else topic for topic in missing]
        raise Unavailable(f"Kafka has no topic {', '.join(told)} yet")
    return counts


@asynccontextmanager
async def _admin(settings: KafkaSettings) -> AsyncGenerator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**connection(settings))
    try:
        await admin.start()
        yield admin
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable("Kafka does not answer") from error
    finally:
        await admin.close()


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """How each of aiokafka's clients is to connect."""
    return {
        "bootstrap_servers": settings.servers.split(","),
        "request_timeout_ms": int(settings.request_timeout_seconds * 1000),
        "retry_backoff_ms": RETRY_BACKOFF_MS,
        "security_protocol": settings.security_protocol,
        "ssl_context": create_ssl_context() if settings.security_protocol.endswith("SSL") else None,
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.username,
        "sasl_plain_password": settings.password.get_secret_value() if settings.password else None,
    }
