"""A training whose process is killed: nothing half serves, the champion stays, and training again completes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from orderflow_assets.defs.forecasting import schedules
from orderflow_assets.forecasting.registry import Registry, RegistryError
from tests.assets.forecast_bars import BTC
from tests.conftest import ROOT

TRAIN = """
import sys, time
from pathlib import Path
from orderflow_assets.forecasting.registry import Registry
from orderflow_assets.forecasting.train import Plan, settle, train_series
from tests.assets.forecast_bars import BTC, frame_of, momentum

folder, until = Path(sys.argv[1]), sys.argv[2]
registry, frame, plan = Registry(folder), frame_of(momentum(900, seed=1)), Plan(models=("har",))

def stop():
    (folder / until).touch()
    time.sleep(120)

def train():
    results = list(train_series(registry, frame, plan, until))
    print(settle(registry, BTC.key, "volatility", until))
    return results

if until == "writing":
    train()
    registry.promote(BTC.key, "volatility", 1, until, "the first")
    complete = Registry.complete
    def half(self, series, target, version, save, *rest):
        def write(staged):
            (staged / "model.pkl").write_bytes(b"half")
            stop()
        return complete(self, series, target, version, write, *rest)
    Registry.complete = half
if until == "stored":
    Registry.record_judgement = lambda *args, **named: stop()
train()
"""
LIMIT_S = 200


def start(folder: Path, until: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(folder), until],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def kill_when_it_gets_to(folder: Path, until: str) -> None:
    process, deadline = start(folder, until), time.monotonic() + LIMIT_S
    while not (folder / until).exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(RegistryError, match="being trained by another process"), Registry(folder).training(BTC.key, ""):
        pass
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    process.communicate()


@pytest.mark.slow
def test_a_killed_training_leaves_the_champion_and_can_be_repeated(tmp_path: Path) -> None:
    registry = Registry(tmp_path)

    kill_when_it_gets_to(tmp_path, "writing")
    champion = registry.champion(BTC.key, "volatility")
    assert champion is not None
    assert (champion.version, champion.status) == (1, "deployed")
    assert registry.artefact(champion).is_dir()
    assert registry.version(BTC.key, "volatility", 2).status == "training"
    assert registry.challenger(BTC.key, "volatility") is None
    with pytest.raises(RegistryError, match="has no stored model"):
        registry.promote(BTC.key, "volatility", 2, "test", "hope")
    assert len(list(registry.folder.glob("staged-*"))) == 1

    kill_when_it_gets_to(tmp_path, "stored")
    assert registry.champion(BTC.key, "volatility") == champion
    assert registry.version(BTC.key, "volatility", 2).status == "retired"
    assert registry.version(BTC.key, "volatility", 2).reason == "its training was interrupted"
    assert registry.version(BTC.key, "volatility", 3).status == "registered"
    assert registry.challenger(BTC.key, "volatility") is None
    assert list(registry.folder.glob("staged-*")) == []

    again = start(tmp_path, "done")
    said, complaints = again.communicate(timeout=LIMIT_S)
    assert again.returncode == 0, complaints
    assert "'har', 1" in said
    challenger = registry.challenger(BTC.key, "volatility")
    assert challenger is not None
    assert challenger.version == 4
    assert registry.version(BTC.key, "volatility", 3).status == "retired"
    assert registry.champion(BTC.key, "volatility") == champion


def test_two_series_train_side_by_side_and_one_series_does_not(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    with registry.training(BTC.key, "first"):
        with pytest.raises(RegistryError, match="being trained by another process"), registry.training(BTC.key, "two"):
            pass
        with registry.training("ETHUSDT|binance_futures", "second"):
            pass
    with registry.training(BTC.key, "after"):
        pass
    limits = yaml.safe_load((ROOT / "dagster.yaml").read_text())["concurrency"]["runs"]["tag_concurrency_limits"]
    assert {"key": "orderflow/heavy", "limit": 2} in limits
    assert "orderflow/heavy" in schedules.retrain.tags
