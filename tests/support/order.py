"""The order of test files, for several processes that share them."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that say how long they take to the front, the longest first.

    Otherwise one process works on the last of them long after the others have ended.
    """
    items.sort(key=_seconds, reverse=True)


def _seconds(item: pytest.Item) -> float:
    module = item.getparent(pytest.Module)
    mark = module.get_closest_marker("slow") if module else None
    return mark.kwargs.get("seconds", 0.0) if mark else 0.0
