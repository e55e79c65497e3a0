"""Moments as people type them and as the data have them: whole microseconds since 1970 UTC."""

from datetime import UTC, date, datetime, timedelta

from samrec.errors import ConfigError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(text: str, *, ends: bool = False) -> int:
    """Microseconds since 1970 of what somebody typed: `2014-07-23`, `2014-07-23T12:00`, or a number of seconds.

    Text without a zone is UTC. With `ends` a bare date is its end, the start of the next day. Raises ConfigError.
    """
    text = text.strip()
    try:
        return round(float(text) * 10**6)
    except (ValueError, OverflowError):
        pass
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        wanted = "a date such as 2014-07-23 or a number of seconds since 1970"
        raise ConfigError(f"expected {wanted}, got {text!r}") from None
    if ends and text == str(date(read.year, read.month, read.day)):
        read += timedelta(days=1)
    return (read.replace(tzinfo=read.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1)


def typed(microseconds: int) -> str:
    """The shortest text that `moment` reads as this."""
    try:
        read = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return repr(microseconds / 10**6)
    text = read.replace(tzinfo=None).isoformat()
    return text.removesuffix("T00:00:00")
