"""Prints the account of the faults when the tests are over."""

from __future__ import annotations

import pytest

from tests.end_to_end.faults import Account

ACCOUNTS = pytest.StashKey[list[Account]]()


@pytest.fixture(scope="session")
def accounts(request: pytest.FixtureRequest) -> list[Account]:
    """What the faults cost; printed at the end."""
    return request.config.stash.setdefault(ACCOUNTS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    accounts = terminalreporter.config.stash.get(ACCOUNTS, [])
    if accounts:
        terminalreporter.section("what each fault cost")
        terminalreporter.write_line(Account.table(accounts))
