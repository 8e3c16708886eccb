"""The schema as data: which field stands at a path, what it takes, and what its bounds are."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from config_store.marks import Mark, mark_of
from config_store.schema import SessionConfig
from config_store.section import Section


@dataclass(frozen=True)
class Field:
    """One field of a section, as overrides and reports need it."""

    key: str
    """Its name in YAML."""
    mark: Mark
    info: FieldInfo
    section: type[Section] | None
    """The section it holds, if it holds one."""
    entries: type[Section] | None
    """The section each entry of its map holds, if it is such a map."""
    choices: tuple[str, ...] | None
    low: float | None
    high: float | None
    is_low_excluded: bool
    """Whether a number must be more than `low`, as seconds that cannot be 0."""
    is_numeric: bool
    adapter: TypeAdapter[Any]


@cache
def fields_of(section: type[Section]) -> Mapping[str, Field]:
    """The fields of a section by their names in YAML."""
    return {
        info.alias or name: _field(info.alias or name, info) for name, info in section.model_fields.items()
    }


def _field(key: str, info: FieldInfo) -> Field:
    options = list(_alternatives(info.annotation))
    found = [option for option, _ in options]
    low, high, is_low_excluded = _bounds(
        [*info.metadata, *(extra for _, extras in options for extra in extras)]
    )
    literals = [get_args(option) for option in found if get_origin(option) is Literal]
    maps = [get_args(option) for option in found if get_origin(option) is dict]
    return Field(
        key=key,
        mark=mark_of(info),
        info=info,
        section=next((option for option in found if _is_section(option)), None),
        entries=next((args[1] for args in maps if len(args) == 2 and _is_section(args[1])), None),
        choices=tuple(literals[0]) if literals else None,
        low=low,
        high=high,
        is_low_excluded=is_low_excluded,
        is_numeric=float in found or int in found,
        adapter=_adapter(info),
    )


def _adapter(info: FieldInfo) -> TypeAdapter[Any]:
    annotation: Any = info.annotation
    if _is_section(annotation):
        return TypeAdapter(annotation)
    for item in info.metadata:
        annotation = Annotated[annotation, item]
    return TypeAdapter(
        annotation, config=ConfigDict(strict=True, allow_inf_nan=False, hide_input_in_errors=True)
    )


def _is_section(option: object) -> bool:
    return isinstance(option, type) and issubclass(option, Section)


def _alternatives(annotation: Any, extras: tuple[Any, ...] = ()) -> list[tuple[Any, tuple[Any, ...]]]:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return _alternatives(inner, (*extras, *more))
    if origin in (Union, types.UnionType):
        return [found for option in get_args(annotation) for found in _alternatives(option, extras)]
    return [(annotation, extras)]


def _bounds(metadata: Sequence[Any]) -> tuple[float | None, float | None, bool]:
    flat = [
        entry for item in metadata for entry in (item.metadata if isinstance(item, FieldInfo) else [item])
    ]
    low = next((float(item.ge) for item in flat if isinstance(item, Ge)), None)  # type: ignore[arg-type]
    high = next((float(item.le) for item in flat if isinstance(item, Le)), None)  # type: ignore[arg-type]
    above = next((float(item.gt) for item in flat if isinstance(item, Gt)), None)  # type: ignore[arg-type]
    if high is None:
        high = next((float(item.lt) for item in flat if isinstance(item, Lt)), None)  # type: ignore[arg-type]
    return above if low is None else low, high, low is None and above is not None


def section_at(path: Sequence[str | int]) -> type[Section] | None:
    """The section whose keys stand at a path of the document; None where there is none."""
    section: type[Section] | None = SessionConfig
    step = 0
    while section is not None and step < len(path):
        field = fields_of(section).get(str(path[step]))
        step += 1
        if field is None:
            return None
        if field.entries is not None:
            if step == len(path):
                return None
            section, step = field.entries, step + 1
        elif step < len(path) and isinstance(path[step], int):
            section, step = item_section(field), step + 1
        else:
            section = field.section
    return section


def item_section(field: Field) -> type[Section] | None:
    """The section that the items of a list hold; None when they hold none."""
    for option, _ in _alternatives(field.info.annotation):
        if get_origin(option) is tuple:
            inner = _alternatives(get_args(option)[0])
            return next((found for found, _ in inner if _is_section(found)), None)
    return None


def field_at(path: Sequence[str]) -> Field | None:
    """The field at a path without list positions; `*` may stand for an entry of a map of sections."""
    section = section_at(path[:-1])
    return fields_of(section).get(path[-1]) if section is not None else None


def default_at(path: str) -> Any:
    """The schema's default at a dotted path, as JSON; None where there is none."""
    field = field_at(path.split("."))
    default = field.info.get_default(call_default_factory=True) if field is not None else None
    if isinstance(default, Section):
        return default.model_dump(mode="json", by_alias=True)
    return list(default) if isinstance(default, tuple) else None if default is PydanticUndefined else default


def range_text(low: float | None, high: float | None, *, is_low_excluded: bool = False) -> str | None:
    """Bounds in words: `0.3 to 3`, `more than 0, up to 120`, `at least 1`; None when there are none."""
    if is_low_excluded and low is not None:
        return f"more than {low:g}" + ("" if high is None else f", up to {high:g}")
    if low is not None and high is not None:
        return f"{low:g} to {high:g}" if high < 1e6 else f"{low:g} to {high:.0f}"
    if low is not None:
        return f"at least {low:g}"
    return f"at most {high:g}" if high is not None else None
