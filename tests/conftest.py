"""What all tests share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings

# A law is judged by what it says, not by how long a busy machine takes to say it.
settings.register_profile("uploadsvc", deadline=None)
settings.load_profile("uploadsvc")


@pytest.fixture
def logged(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> Callable[[], str]:
    """What was logged since it was last asked, whether or not an earlier test has set up
    logging for the whole process."""

    def said() -> str:
        text = caplog.text + capsys.readouterr().out
        caplog.clear()
        return text

    return said
