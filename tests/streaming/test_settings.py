import json
from pathlib import Path

import pytest

from orderflow_streaming.exchanges import PROTOCOLS
from orderflow_streaming.markets import MARKETS, SYMBOLS
from orderflow_streaming.settings import (
    CHANGEABLE,
    Settings,
    SettingsError,
    forget_changes,
    keep_changes,
    load,
    runtime_changes,
)


def test_without_a_file_the_defaults_hold_and_a_notice_says_so(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings, notice = load(environment={})
    assert settings.symbols == SYMBOLS
    assert settings.markets == tuple(name for name in MARKETS if name in PROTOCOLS)
    assert "default settings" in notice


def test_flags_beat_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"symbols": ["ethusdt"], "flush_interval_seconds": 3, "batch_size": 7}))
    environment = {"ORDERFLOW_FLUSH_INTERVAL_SECONDS": "2", "ORDERFLOW_SYMBOLS": "btcusdt, solusdt"}
    settings, notice = load(file, flags={"flush_interval_seconds": 1.0, "batch_size": None}, environment=environment)
    assert settings.flush_interval_seconds == 1
    assert settings.symbols == ("BTCUSDT", "SOLUSDT")
    assert settings.batch_size == 7
    assert notice is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a JSON object"),
        ("[]", "is not a JSON object"),
        ('{"symbol": "BTCUSDT"}', "unknown key 'symbol'. Did you mean 'symbols'"),
        ('{"markets": ["binance_spots"]}', "Did you mean 'binance_spot'"),
        ('{"store_port": "high"}', "store_port"),
        ('{"stream_types": ["trade"]}', "Did you mean 'trades'"),
        ('{"alert_channel": []}', "unknown key 'alert_channel'. Did you mean 'alert_channels'"),
        ('{"alert_channels": ["email"]}', "alert_channels.0"),
        ('{"alert_channels": ["webhook"]}', "alert_webhook_url: the channel 'webhook' needs an address"),
        ('{"health_check_interval_seconds": 61}', "less than or equal to 60"),
        ('{"flush_interval_seconds": 0}', "greater than 0"),
    ],
)
def test_a_broken_file_is_one_line_that_says_what_to_do(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(content)
    with pytest.raises(SettingsError, match=message) as caught:
        load(file, environment={})
    assert "\n" not in str(caught.value)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        load(tmp_path / "absent.json", environment={})


@pytest.mark.parametrize(
    ("flags", "environment", "source"),
    [
        ({"symbols": "nope"}, {}, "command line"),
        ({}, {"ORDERFLOW_SYMBOLS": "nope"}, "ORDERFLOW_SYMBOLS"),
        ({}, {}, "config.json"),
    ],
)
def test_an_error_names_where_the_value_came_from(tmp_path: Path, flags, environment, source: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"symbols": ["BTCUSDT" if flags or environment else "nope"]}))
    with pytest.raises(SettingsError, match=f"^{source}: symbols: unknown symbol 'nope'"):
        load(file, flags=flags, environment=environment)


@pytest.mark.parametrize(("value", "port"), [("off", None), ("0", 0), ("9200", 9200)])
def test_http_is_off_or_on_any_port(value: str, port: int | None) -> None:
    settings, _ = load(environment={"ORDERFLOW_HTTP_PORT": value})
    assert settings.http_port == port


def test_changes_at_run_time_are_kept_between_the_file_and_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"symbols": ["BTCUSDT"], "markets": ["binance_futures"], "batch_size": 7}))
    flags = {"data_dir": tmp_path / "data"}
    keep_changes(tmp_path / "data", {"symbols": ("ETHUSDT",)})
    keep_changes(tmp_path / "data", {"markets": ("binance_spot",), "journal_keep_hours": 2.0})
    settings, notice = load(file, flags=flags, environment={"ORDERFLOW_MARKETS": "okx_futures"})
    assert (settings.symbols, settings.markets, settings.batch_size) == (("ETHUSDT",), ("okx_futures",), 7)
    assert settings.journal_keep_hours == 2
    assert notice == (
        "journal_keep_hours, symbols as changed at run time; to forget that: orderflow-stream configure --reset"
    )
    forget_changes(tmp_path / "data")
    settings, notice = load(file, flags=flags, environment={})
    assert (settings.symbols, settings.markets, notice) == (("BTCUSDT",), ("binance_futures",), None)


def test_kept_changes_that_cannot_be_used_are_an_error_that_names_their_file(tmp_path: Path) -> None:
    keep_changes(tmp_path, {"symbols": ["nope"]})
    with pytest.raises(SettingsError, match=r"runtime\.json: symbols: unknown symbol 'nope'"):
        load(flags={"data_dir": tmp_path}, environment={})
    (tmp_path / "runtime.json").write_text("{")
    with pytest.raises(SettingsError, match=r"runtime\.json is not a JSON object"):
        runtime_changes(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbol": "BTCUSDT"}, "'symbol' cannot be changed at run time. Did you mean 'symbols'"),
        ({"store_port": 1}, "'store_port' cannot be changed at run time. Allowed: symbols"),
        ({"symbols": "BTCUSD"}, "symbols: unknown symbol 'BTCUSD'. Did you mean 'BTCUSDT'"),
        ({"markets": ["binance"]}, "unknown market 'binance'"),
        ({"stream_types": "book"}, "unknown stream 'book'"),
    ],
)
def test_a_change_that_cannot_be_used_says_what_can(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings(http_port=0).changed(changes)


def test_a_change_leaves_the_rest_as_it_is() -> None:
    before = Settings(batch_size=9)
    after = before.changed({"symbols": "btcusdt,ethusdt", "stream_types": ""})
    assert (after.symbols, after.stream_types, after.batch_size) == (("BTCUSDT", "ETHUSDT"), (), 9)
    assert set(CHANGEABLE) <= set(Settings.model_fields)
