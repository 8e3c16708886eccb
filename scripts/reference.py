"""
Writes the tables of the documents from the schema, the providers' own data and the settings.

`python -m scripts.reference` rewrites the pages; a test fails while one does not match.
"""

import re
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase
from pydantic import AliasChoices

from agent import metrics
from agent.providers.directory import tuning_rows
from agent.providers.tuning import markdown
from agent.settings import Settings
from config_store.fields import Field, fields_of, item_section, range_text
from config_store.routes import Route, Routes
from config_store.schema import SessionConfig
from config_store.section import Section

DOCS = Path(__file__).parent.parent / "docs"
PAGES = (DOCS.parent / "README.md", DOCS / "bundles.md", DOCS / "operations.md")
MARKED = re.compile(r"(<!-- {name} -->\n).*?(<!-- end -->)".replace("{name}", r"(\w+)"), re.DOTALL)
CHANGED_BY = {"default": "a session", "listed": "a session, when listed", "never": "the bundle only"}


def keys() -> str:
    """All keys of a bundle, section by section, each once."""
    seen: list[tuple[str, type[Section], str]] = [("", SessionConfig, "")]
    out = []
    for prefix, section, whole in seen:
        rows = []
        for field in fields_of(section).values():
            inner = field.section or field.entries or item_section(field)
            path = f"{prefix}{field.key}"
            # a section's own fields say who may change them, but for one that is only changed as a whole
            is_whole = field.mark.overridable != "never"
            rows.append(_row(path, field, inner is not None and not is_whole, whole))
            if inner is not None and all(inner is not known for _, known, _ in seen):
                end = ".*." if field.entries else "[]." if field.section is None else "."
                seen.append((path + end, inner, path if is_whole else ""))
        title = f"`{prefix}…`" if prefix else "Top level"
        head = (
            "| key | meaning | default | range or choices | changed by | takes effect |\n" + "|---" * 6 + "|"
        )
        out.append(f"### {title}\n\n{head}\n" + "\n".join(rows))
    return "\n\n".join(out)


def _row(path: str, field: Field, is_section: bool, whole: str) -> str:
    text = (field.info.description or "").replace("\n", " ").replace("|", "\\|")
    choices = ", ".join(f"`{choice}`" for choice in field.choices or ())
    bounds = choices or range_text(field.low, field.high, is_low_excluded=field.is_low_excluded) or ""
    default = "" if is_section or field.info.is_required() else _default(field)
    who = "" if is_section else f"with all of `{whole}`" if whole else CHANGED_BY[field.mark.overridable]
    when = "" if is_section or field.mark.overridable == "never" else field.mark.effect.replace("_", " ")
    return f"| `{path}` | {text} | {default} | {bounds} | {who} | {when} |"


def _default(field: Field) -> str:
    value = field.info.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if value in ((), {}):
        return "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def routes() -> str:
    """The keys of `routes.yaml`."""
    rows = [
        f"| `{prefix}{key}` | {field.info.description} | {'yes' if field.info.is_required() else 'no'} |"
        for prefix, section in (("", Routes), ("routes[].", Route))
        for key, field in fields_of(section).items()
    ]
    return "| key | meaning | needed |\n|---|---|---|\n" + "\n".join(rows)


def settings() -> str:
    """Every setting of a process, apart from those that only the worker sets."""
    rows = []
    for name, field in Settings.model_fields.items():
        text = (field.description or "").replace("\n", " ")
        if "not by people" in text:
            continue
        alias = field.validation_alias
        variable = str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"AGENT_{name.upper()}"
        value = field.get_default(call_default_factory=True)
        shown = "" if value in (None, ()) else f"`{value}`"
        rows.append(f"| `{variable}` | {shown} | {text} |")
    return "| variable | default | meaning |\n|---|---|---|\n" + "\n".join(rows)


def figures() -> str:
    """Every metric of the worker's own."""
    ours = sorted(
        (one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)),
        key=lambda one: str(one.describe()[0].name),
    )
    rows = []
    for one in ours:
        (family,) = one.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in one._labelnames)
        rows.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    return "| metric | type | labels | meaning |\n|---|---|---|---|\n" + "\n".join(rows)


TABLES = {
    "keys": keys,
    "routes": routes,
    "tuning": lambda: markdown(tuning_rows()),
    "settings": settings,
    "metrics": figures,
}


def rendered(page: str) -> str:
    """The page with its tables as they should be."""
    return MARKED.sub(lambda m: f"{m.group(1)}\n{TABLES[m.group(2)]().strip()}\n\n{m.group(3)}", page)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(rendered(page.read_text()))
