"""
Every mistake a bundle can have, with the exact report expected for it.

A case is a folder with `bundles/main.yaml` and `expected.txt`; `--update-golden` writes the latter.
"""

from pathlib import Path

import pytest

from config_store.bundle import load_bundle
from config_store.errors import report
from config_store.folder import BundleFolder
from config_store.parts import Sources
from tests.config_store.facts import catalog

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in HERE.glob("*/bundles"))
ENVIRONMENT = {"SECRET": "s3cret-value", "NUMBER": "4711", "SET": "x"}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_report_of_a_wrong_bundle(case: Path, request: pytest.FixtureRequest) -> None:
    """The report of a wrong bundle is exactly the expected one, and holds no value of the environment."""
    sources = Sources(BundleFolder(case / "bundles"), ENVIRONMENT)
    bundle = load_bundle(sources, "main", catalog())
    assert bundle is not None
    text = report("main", bundle.problems) + "\n"
    expected = case / "expected.txt"
    if request.config.getoption("--update-golden", default=False):
        expected.write_text(text, "utf-8")

    assert expected.read_text("utf-8") == text
    assert bundle.problems
    assert not any(value in text for value in (ENVIRONMENT["SECRET"], ENVIRONMENT["NUMBER"]))


def test_there_is_a_case_for_every_message() -> None:
    """There are at least 60 cases."""
    assert len(CASES) >= 60
