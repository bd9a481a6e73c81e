"""Pictures and the rows they show, against a served store and through a real client."""

from __future__ import annotations

import io
import sys
from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from mcp import types
from mcp.shared.memory import create_connected_server_and_client_session
from PIL import Image
from pydantic import AnyUrl

from mcp_server import adapter
from mcp_server.calls import Calls, Options, Reply
from mcp_server.errors import ToolError
from mcp_server.registry import declared_tools, find, select
from tests.mcp import traded
from tests.mcp.serving import served
from tests.mcp.test_tools import cells

ETH = {"symbol": "ETHUSDT", "exchange": "binance"}
CHARTS = (
    "viz_feature_candles",
    "viz_liquidity_heatmap",
    "viz_signal_dashboard",
    "viz_regime_timeline",
    "viz_correlation_matrix",
)
MOST_BYTES = 60_000


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calls]:
    with served(tmp_path_factory.mktemp("charts"), traded.plant) as (folder, _):
        made = Calls(select(declared_tools(), toolsets=("all",), allow_write=True), Options(folder))
        yield made
        made.close()


def drawn(calls: Calls, tool: str, **arguments: Any) -> Reply:
    return calls.reply(find(tool, calls.selection.listed), arguments)


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_a_small_picture_of_more_than_one_colour(calls: Calls, name: str) -> None:
    (picture,) = drawn(calls, name, **ETH).pictures
    assert len(picture.data) <= MOST_BYTES
    opened = Image.open(io.BytesIO(picture.data))
    assert opened.format == "PNG"
    assert len(opened.convert("RGB").getcolors(100_000) or ()) > 8


@pytest.mark.parametrize("name", CHARTS)
def test_where_nothing_is_stored_there_is_a_reason_and_no_picture(calls: Calls, name: str) -> None:
    reply = drawn(calls, name, symbol="WIFUSDT")
    assert reply.pictures == []
    assert reply.payload["rows"] == []
    assert "holds no rows of WIFUSDT" in reply.payload["hint"]


def test_candles_carry_the_last_value_known_in_each_bar(calls: Calls) -> None:
    answer = drawn(
        calls, "viz_feature_candles", **ETH, timeframe="1m", periods=30, overlays="microprice,vwap,cvd"
    ).payload
    assert cells(answer, "prices.microprice") == [value - 1 for value in cells(answer, "close")]
    assert cells(answer, "trades.vwap")[:20] == cells(answer, "prices.microprice")[:20]
    assert cells(answer, "trades.vwap")[20:] == [None] * 10
    wide = drawn(calls, "chart_candles", symbol="ETHUSDT", interval="5m", overlays=["microprice"]).payload
    assert cells(wide, "prices.microprice") == [value - 1 for value in cells(wide, "close")]


def test_an_overlay_is_a_feature_or_a_signal(calls: Calls) -> None:
    answer = drawn(calls, "viz_feature_candles", **ETH, overlays="smart_money_flow,risk_score").payload
    assert set(cells(answer, "composite.smart_money_flow")) == {-0.5}
    assert set(cells(answer, "composite.composite_risk")) == {None}
    with pytest.raises(ToolError, match="Did you mean 'microprice'"):
        drawn(calls, "viz_feature_candles", **ETH, overlays="microprise")


def test_levels_are_those_of_the_newest_book_with_its_walls(calls: Calls) -> None:
    answer = drawn(calls, "viz_liquidity_heatmap", **ETH).payload
    newest = traded.price(traded.MINUTES - 1)
    rows = [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]
    assert [(row["side"], row["level"], row["price"]) for row in rows if row["wall"]] == [("ask", 4, newest + 4)]
    assert len([row for row in rows if row["side"] == "bid"]) == 11
    assert answer["meta"]["mid_price"] == newest
    assert answer["meta"]["imbalance"] == pytest.approx((11 - 26) / 37)
    assert "wall" not in drawn(calls, "viz_liquidity_heatmap", **ETH, include_walls=False).payload["columns"]


def test_signals_with_what_they_say_together(calls: Calls) -> None:
    answer = drawn(calls, "viz_signal_dashboard", **ETH).payload
    assert dict(zip(cells(answer, "signal"), cells(answer, "value"), strict=True)) == {
        "smart_money_index": 0.25,
        "smart_money_flow": -0.5,
    }
    assert [alert["signal"] for alert in answer["meta"]["alerts"]] == ["smart_money_flow"]
    assert answer["meta"]["together"]["direction"] == "BEARISH"


def test_regimes_with_the_changes_that_were(calls: Calls) -> None:
    answer = drawn(calls, "viz_regime_timeline", **ETH).payload
    assert cells(answer, "state") == list(reversed(traded.STATES))
    assert answer["meta"]["transitions"] == {"BULL": {"BULL": 1, "RANGING": 1}, "RANGING": {"BEAR": 1}}
    newest = drawn(calls, "viz_regime_timeline", **ETH, include_history=False, include_transitions=False).payload
    assert cells(newest, "state") == ["BEAR"]
    assert "transitions" not in newest["meta"]


def test_the_matrix_is_symmetric_and_clusters_come_first(calls: Calls) -> None:
    answer = drawn(calls, "viz_correlation_matrix", **ETH, feature_groups="prices,trades").payload
    matrix = cells(answer, "correlations")
    assert all(matrix[i][j] == matrix[j][i] for i in range(len(matrix)) for j in range(len(matrix)))
    assert answer["meta"]["clusters"] == [["prices.spread_bps", "trades.cvd"]]
    assert cells(answer, "feature")[:2] == ["prices.spread_bps", "trades.cvd"]


def test_without_the_library_the_rows_are_there_and_say_so(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    reply = drawn(calls, "viz_signal_dashboard", **ETH)
    assert reply.pictures == []
    assert reply.payload["rows"]
    assert "pip install" in reply.payload["meta"]["picture"]


async def test_a_client_gets_the_picture_and_reads_the_file(calls: Calls) -> None:
    async with create_connected_server_and_client_session(adapter.build(calls, "0")) as client:
        chart = await client.call_tool("viz_signal_dashboard", ETH)
        text, image = chart.content
        assert isinstance(text, types.TextContent)
        assert isinstance(image, types.ImageContent)
        assert image.mimeType == "image/png"
        assert b64decode(image.data).startswith(b"\x89PNG")
        export = await client.call_tool("export_features_csv", ETH | {"feature_types": "trades"})
        link = export.content[1]
        assert isinstance(link, types.ResourceLink)
        read = (await client.read_resource(AnyUrl(link.uri))).contents[0]
        assert isinstance(read, types.TextResourceContents)
        assert read.text.startswith('"bar_ts",')
        assert len(read.text.encode()) == link.size


def test_the_store_is_read_up_to_the_end_asked_for(calls: Calls) -> None:
    newest = drawn(calls, "chart_signals", symbol="ETHUSDT").payload["meta"]["as_of"]
    before = drawn(calls, "chart_signals", symbol="ETHUSDT", end=newest).payload
    assert datetime.fromisoformat(before["meta"]["as_of"]) < datetime.fromisoformat(newest)
    assert before["meta"]["staleness_s"] is None
