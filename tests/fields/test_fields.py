"""No field of a bundle is without a test that shows what it does."""

import ast
import re
from functools import cache
from pathlib import Path

import yaml

from config_store.schema import SessionConfig
from tests.fields.schema import paths, used
from tests.fields.shown import SHOWN

ROOT = Path(__file__).parents[2]
EVERYTHING = Path(__file__).with_name("everything.yaml")


def test_every_field_has_a_test_that_shows_its_effect() -> None:
    """A field that is new, gone or renamed fails here until a test of its effect is named for it."""
    assert sorted(SHOWN) == sorted(paths())


def test_the_named_tests_are_there_and_name_the_field() -> None:
    """Each named function is a test, or part of one, and what it runs names the field."""
    wrong = []
    for path, test in SHOWN.items():
        source = _source(test)
        leaf = re.split(r"[.\[]", path.removesuffix("[]"))[-1].strip("]")
        if source is None or not re.search(rf"{leaf}\b", source):
            wrong.append(f"{path}: {test}")
    assert wrong == []


def test_the_bundle_that_uses_every_field_does_and_is_valid() -> None:
    """Nothing of the schema is left out, and every value differs from the default."""
    document = yaml.safe_load(EVERYTHING.read_text("utf-8"))
    assert sorted(set(paths()) - set(used(document))) == []
    config = SessionConfig.model_validate(document)
    fields = type(config).model_fields
    same = [
        name
        for name in fields
        if getattr(config, name) == fields[name].get_default(call_default_factory=True)
    ]
    assert same == []


def _source(test: str) -> str | None:
    """A function with what it uses of its file, and the bundle that its worker serves."""
    file, _, name = test.partition("::")
    parts = _parts(ROOT / file)
    if name not in parts:
        return None
    seen: set[str] = set()
    waiting = [name, *(part for part, source in parts.items() if "autouse=True" in source)]
    while waiting:
        part = waiting.pop()
        if part in seen or part not in parts:
            continue
        seen.add(part)
        waiting += [node.id for node in ast.walk(ast.parse(parts[part])) if isinstance(node, ast.Name)]
        waiting += [node.arg for node in ast.walk(ast.parse(parts[part])) if isinstance(node, ast.arg)]
    served = [ROOT / "bundles" / f"{name}.yaml"]
    if "worker: RunningWorker" in parts[name]:
        served.append(ROOT / "tests" / "e2e" / "bundles" / "talk.yaml")
    bundles = [path.read_text("utf-8") for path in served if path.exists()]
    return "\n".join([*(parts[part] for part in seen), *bundles])


@cache
def _parts(path: Path) -> dict[str, str]:
    """The functions, classes and constants of a file by name."""
    text = path.read_text("utf-8")
    parts: dict[str, str] = {}
    for node in ast.parse(text).body:
        source = ast.get_source_segment(text, node) or ""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            decorators = [ast.get_source_segment(text, one) or "" for one in node.decorator_list]
            parts[node.name] = "".join(f"@{one}\n" for one in decorators) + source
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts |= {target.id: source for target in targets if isinstance(target, ast.Name)}
    return parts
