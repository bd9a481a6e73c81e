import json
from pathlib import Path

import pytest

from orderflow_streaming.markets import SYMBOLS
from orderflow_streaming.settings import SettingsError, load


def test_without_a_file_the_defaults_hold_and_a_notice_says_so(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings, notice = load(environment={})
    assert settings.symbols == SYMBOLS
    assert settings.markets == ("binance_futures",)
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
