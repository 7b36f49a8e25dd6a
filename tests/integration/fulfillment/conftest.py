"""One house for all tests of the fulfillment service: its worker, its relay and an order that writes down."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from pydantic import SecretStr

from contracts.chassis.settings import TemporalSettings
from deploy.local.stack import Stack
from tests.integration.fulfillment.house import House, open_house


@pytest.fixture(scope="module")
def temporal_settings(temporal_engine: Stack) -> TemporalSettings:
    rings = temporal_engine.state.key_rings()
    return TemporalSettings(
        codec_orders_keys=SecretStr(rings["TANDEM_CODEC_ORDERS_KEYS"]),
        codec_fulfillments_keys=SecretStr(rings["TANDEM_CODEC_FULFILLMENTS_KEYS"]),
        graceful_shutdown_seconds=1,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    postgres_url: str, sandbox_url: str, temporal_engine: Stack, temporal_settings: TemporalSettings
) -> AsyncGenerator[House]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPORAL_CONFIG_FILE", temporal_engine.env["TEMPORAL_CONFIG_FILE"])
        async with open_house(postgres_url, sandbox_url, temporal_settings) as house:
            yield house
