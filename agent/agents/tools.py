"""
Tools of an agent: Python functions, ending the call, handing over. Each is journalled before it runs.

A tool's intent is written and awaited first, so that a process that dies in the middle leaves a trace, and
the attempt that takes over never runs the tool a second time.
"""

import asyncio
import functools
import importlib
import inspect
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from livekit.agents import RunContext, StopResponse, ToolError, function_tool, llm
from livekit.agents.utils import shortuuid
from livekit.agents.voice import SpeechHandle

from config_store.personas import HANDOFF_PREFIX
from config_store.schema import ToolConfig

RESULT_CAP = 16_000
"""Characters of a tool's result that the journal keeps and the model is given."""
TOOL_STEPS = 5
"""Most rounds of tools in one answer; after them the model has to speak."""
CALLS_CAP = 10
"""Most runs of tools between two words of the user, side by side ones included."""
OwnTool = llm.FunctionTool[..., Any] | llm.RawFunctionTool[..., Any]
"""A method of an agent's class that livekit's `function_tool` makes a tool of."""
END_CALL = "end_call"
SET_PANEL = "set_panel"


class ToolLoadError(Exception):
    """A tool that a bundle names is not there; the text names the tool and what to do."""


@dataclass(frozen=True)
class ToolWatch:
    """What happens around a tool's run."""

    begin: Callable[[str, str, dict[str, Any]], Awaitable[None]]
    """Called with call id, name and arguments; returns when the intent is safe."""
    end: Callable[[str, str, str], None]
    """Called with call id, output and `ok` or `error`."""


class ToolBudget:
    """How often tools may still run before the user speaks again; a model that loops ends there."""

    def __init__(self, calls: int = CALLS_CAP) -> None:
        self._calls = calls
        self._left = calls

    def renew(self) -> None:
        """The user spoke."""
        self._left = self._calls

    def spend(self, call_id: str, watch: ToolWatch) -> None:
        """
        One run.

        Raises:
            ToolError: There is none left; the model is told to answer.
        """
        if self._left == 0:
            message = "No more tools now: answer the user with what you know."
            watch.end(call_id, message, "error")
            raise ToolError(message)
        self._left -= 1


def load_function(reference: str) -> Callable[..., Any]:
    """
    The function `module:name` names.

    Raises:
        ToolLoadError: No such module or function, or not a function.
    """
    module_name, _, name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as exc:
        raise ToolLoadError(f"tool '{reference}': module '{module_name}' cannot be imported ({exc})") from exc
    function = getattr(module, name, None)
    if not callable(function):
        raise ToolLoadError(f"tool '{reference}': module '{module_name}' has no function '{name}'")
    return function  # type: ignore[no-any-return]


def python_tool(
    tool: ToolConfig, watch: ToolWatch, say: Callable[[str], None], budget: ToolBudget
) -> "llm.Tool":
    """A tool from a Python function; its name is the bundle's, its schema its signature and docstring."""
    function = load_function(tool.name)
    run = _watched(
        function, tool.called, watch, budget, begun=lambda: say(tool.say) if tool.say else None,
        seconds=tool.timeout_seconds,
    )  # fmt: skip
    return function_tool(run, name=tool.called, description=tool.description)


def method_tool(tool: OwnTool, watch: ToolWatch, budget: ToolBudget) -> OwnTool:
    """A tool that is a method of an agent's class, watched like those of a bundle; it may take any time."""
    run = _watched(tool, tool.info.name, watch, budget, begun=lambda: None, seconds=None)
    return type(tool)(run, tool.info)  # type: ignore[arg-type]


def _watched(
    function: Callable[..., Any],
    name: str,
    watch: ToolWatch,
    budget: ToolBudget,
    *,
    begun: Callable[[], None],
    seconds: float | None,
) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        bound = inspect.signature(function).bind_partial(*args, **kwargs)
        shown = {key: value for key, value in bound.arguments.items() if not isinstance(value, RunContext)}
        call_id = shortuuid("call_")
        await watch.begin(call_id, name, _plain(shown))
        budget.spend(call_id, watch)
        begun()
        try:
            async with asyncio.timeout(seconds):
                result = function(*args, **kwargs)
                if inspect.isawaitable(result):
                    result = await result
        except ToolError as exc:
            watch.end(call_id, str(exc), "error")
            raise
        except StopResponse:  # the tool is done, and wants no answer to it
            watch.end(call_id, "", "ok")
            raise
        except TimeoutError:
            message = f"{name} did not answer within {seconds:g} seconds" if seconds else f"{name} failed"
            watch.end(call_id, message, "error")
            raise ToolError(message) from None
        except asyncio.CancelledError:
            watch.end(call_id, "cancelled", "error")
            raise
        except Exception as exc:
            watch.end(call_id, type(exc).__name__, "error")
            raise ToolError(f"{name} failed") from exc
        watch.end(call_id, _text(result), "ok")
        return result

    return run


def end_call_tool(end: Callable[[SpeechHandle], None], watch: ToolWatch) -> "llm.Tool":
    """The tool by which an agent ends the call, after what it is saying has been heard."""

    async def end_call(context: RunContext[Any]) -> None:
        """End the call. Use it when the user says goodbye or has nothing left to ask."""
        call_id = shortuuid("call_")
        await watch.begin(call_id, END_CALL, {})
        watch.end(call_id, "", "ok")
        context.speech_handle.add_done_callback(end)

    return function_tool(end_call, name=END_CALL)


def set_panel_tool(
    offered: tuple[str, ...], show: Callable[[str], None], watch: ToolWatch, budget: ToolBudget
) -> "llm.Tool":
    """The tool by which an agent shows one of its panels on the client."""

    async def set_panel(raw_arguments: dict[str, object]) -> str:
        panel = str(raw_arguments.get("panel", ""))
        call_id = shortuuid("call_")
        await watch.begin(call_id, SET_PANEL, {"panel": panel})
        budget.spend(call_id, watch)
        if panel not in offered:
            watch.end(call_id, "no such panel", "error")
            raise ToolError(f"There is no panel '{panel}'; there are: {', '.join(offered)}")
        show(panel)
        watch.end(call_id, "shown", "ok")
        return "shown"

    schema = {
        "name": SET_PANEL,
        "description": "Show a panel on the user's screen.",
        "parameters": {
            "type": "object",
            "properties": {"panel": {"type": "string", "enum": list(offered)}},
            "required": ["panel"],
            "additionalProperties": False,
        },
    }
    return function_tool(set_panel, raw_schema=schema)


def handoff_tool(target: str, description: str, hand_over: Callable[[str], Awaitable[Any]]) -> "llm.Tool":
    """The tool by which an agent hands the call to another one."""

    async def handoff(raw_arguments: dict[str, object]) -> Any:  # noqa: ARG001 - livekit hands them over
        return await hand_over(target)

    schema = {
        "name": f"{HANDOFF_PREFIX}{target}",
        "description": description,
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    }
    return function_tool(handoff, raw_schema=schema)


def _plain(value: Any) -> Any:
    """Arguments as JSON would carry them, each capped."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return json.loads(text) if len(text) <= RESULT_CAP else {"cut": text[:RESULT_CAP]}


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text[:RESULT_CAP]
