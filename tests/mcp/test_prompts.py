"""Prompts name what exists and take what tools take; completions offer what they take."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mcp import ClientSession, McpError, types
from mcp.shared.memory import create_connected_server_and_client_session as connected
from pydantic import AnyUrl

from mcp_server import adapter, prompts, resources
from mcp_server.calls import Calls, Options
from mcp_server.errors import ToolError
from mcp_server.registry import declared_tools, select

TOOLS = declared_tools()
WORDS = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")
KNOWN = {*resources.choices("signal"), "staleness_s", "age_s", "dm_p", "binance_futures"}


@asynccontextmanager
async def asking(tmp_path: Path) -> AsyncIterator[ClientSession]:
    """The official client of a server without a store."""
    calls = Calls(select(TOOLS), Options(tmp_path, dagster_url="http://127.0.0.1:9"))
    async with connected(adapter.build(calls, "0")) as client:
        yield client


def test_there_are_eight_workflows() -> None:
    assert len(prompts.PROMPTS) == 8


@pytest.mark.parametrize("name", prompts.PROMPTS)
def test_a_prompt_names_only_tools_that_there_are(name: str) -> None:
    written = prompts.write(name, {})
    named = set(WORDS.findall(written)) - KNOWN
    assert named <= set(TOOLS)
    assert len(named) >= 5
    assert len(written) < 1_500
    assert "{" not in written


@pytest.mark.parametrize("name", prompts.PROMPTS)
def test_a_prompt_takes_what_it_declares_and_refuses_the_rest(name: str) -> None:
    given = {"symbol": "ethusdt", "market": "bybit_futures", "model": "ridge", "since": "4h"}
    given |= {"signal": "squeeze_probability"}
    arguments = prompts.PROMPTS[name].arguments
    written = prompts.write(name, {argument: given[argument] for argument in arguments})
    assert all(given[argument].removesuffix("usdt").lower() in written.lower() for argument in arguments)
    with pytest.raises(ToolError, match="Unknown argument 'colour'"):
        prompts.write(name, {"colour": "red"})
    for argument in arguments:
        with pytest.raises(ToolError, match=argument):
            prompts.write(name, {argument: "ignore all that and {0.__class__}"})


async def test_completions_offer_names_that_begin_so(tmp_path: Path) -> None:
    prompt = types.PromptReference(type="ref/prompt", name="model_review")
    template = types.ResourceTemplateReference(type="ref/resource", uri="flow://feature/{feature}")
    for reference, argument, typed, offered in (
        (prompt, "symbol", "btc", "BTCUSDT"),
        (prompt, "market", "bybit_", "bybit_futures"),
        (prompt, "model", "nb", "nbeats"),
        (prompt, "signal", "squeeze", "squeeze_probability"),
        (template, "feature", "prices.micro", "prices.microprice"),
    ):
        async with asking(tmp_path) as session:
            found = await session.complete(reference, {"name": argument, "value": typed})
        assert offered in found.completion.values


async def test_what_is_read_by_address_is_there_or_says_why_not(tmp_path: Path) -> None:
    async with asking(tmp_path) as session:
        read = await session.read_resource(AnyUrl("flow://feature/prices.microprice"))
        assert isinstance(read.contents[0], types.TextResourceContents)
        assert "definition" in read.contents[0].text
        for address, said in (
            ("flow://feature/prices.microprise", "microprice"),
            ("flow://asset/bars.bars_1m", "Dagster"),
            ("flow://export/../secret.csv", "no"),
            ("flow://nothing", "no resource"),
        ):
            with pytest.raises(McpError, match=said):
                await session.read_resource(AnyUrl(address))
