"""What can go wrong at the store, one class per remedy. Each message says what to do."""

from __future__ import annotations


class StoreError(Exception):
    """Base of all store errors. ``code`` travels over the wire, ``retryable`` says whether a retry can help."""

    code = "store"
    retryable = False


class StoreUnavailableError(StoreError):
    """No owner answers and the file cannot be opened here."""

    code = "unavailable"
    retryable = True


class StoreLockedError(StoreError):
    """Another process holds the database file and does not serve it."""

    code = "locked"
    retryable = True


class StoreAuthError(StoreError):
    """The token is missing, wrong, or does not allow the operation."""

    code = "auth"


class InvalidQueryError(StoreError):
    """The statement is not one read-only statement, or the engine refuses it."""

    code = "query"


class InvalidWriteError(StoreError):
    """The data does not fit the declared table; nothing was changed."""

    code = "write"


class InvalidActionError(StoreError):
    """An action was asked for with something it does not know; nothing was changed."""

    code = "action"


class QueryTimeoutError(StoreError):
    """The statement ran past its time limit and was cancelled."""

    code = "timeout"


class QueryMemoryError(StoreError):
    """The statement needed more memory than the store gives to queries and was cancelled."""

    code = "memory"


class StoreBusyError(StoreError):
    """Too many statements run at once, or two writers met on the same rows."""

    code = "busy"
    retryable = True


class ArchiveError(StoreError):
    """A sealed hour is not what it should be, or cannot be sealed; nothing was dropped."""

    code = "archive"


BY_CODE: dict[str, type[StoreError]] = {
    error.code: error
    for error in (
        StoreError,
        StoreUnavailableError,
        StoreLockedError,
        StoreAuthError,
        InvalidQueryError,
        InvalidWriteError,
        InvalidActionError,
        QueryTimeoutError,
        QueryMemoryError,
        StoreBusyError,
        ArchiveError,
    )
}
