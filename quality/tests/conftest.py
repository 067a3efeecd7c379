from __future__ import annotations

from functools import partial

import pytest

from quality.tests.builders import store_answers


@pytest.fixture
def stored(model):
    """``stored(task, [(parts, truth, metadata), …])``: answers with what came true."""
    return partial(store_answers, model)
