"""The end of the demo: the transcripts it left, where they are, and what to try next."""

import json
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from agent.demo.stage import Stage

SHOWN_IN_FULL = "demo-talk"


def tell_what_it_left(stage: Stage, seconds: float) -> None:
    """Print the table of transcripts, one in full, where they are stored, and what to try next."""
    from agent.transcripts.database import open_engine
    from agent.transcripts.filters import OPERATOR
    from agent.transcripts.history import list_transcripts, load

    console = stage.narrator.console
    engine = open_engine(stage.settings.database())
    try:
        rows = list_transcripts(engine, OPERATOR).transcripts
        full = load(engine, SHOWN_IN_FULL, OPERATOR)
    finally:
        engine.dispose()
    stage.narrator.title(f"The transcripts it left ({seconds:.0f} s in all)")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("session", "user", "bundle", "agents", "end reason", "duration", "items"):
        table.add_column(name, justify="right" if name in ("duration", "items") else "left")
    for row in sorted(rows, key=lambda one: str(one["started_at"])):
        table.add_row(
            row["session_id"], row["user_id"], row["bundle"], ", ".join(row["agents"]), row["end_reason"],
            f"{row['duration_seconds']:.1f} s", str(row["items"]),
        )  # fmt: skip
    console.print(table)
    if full:
        stage.narrator.title(f"{SHOWN_IN_FULL}, in full")
        for item in full["items"]:
            console.print(_item(item), soft_wrap=True)
    stage.narrator.title("Where they are")
    data = shlex.quote(str(stage.data))
    console.print(f"  {stage.data}/agent.db  (SQLite), for example:", soft_wrap=True)
    command = _command()
    console.print(f"  AGENT_DATA={data} {command} transcripts show {SHOWN_IN_FULL} --json", soft_wrap=True)
    stage.narrator.title("What to try next")
    for line in (
        f"{command} dev (or make dev): talk with the agent yourself, in the browser, with a microphone",
        f"while it runs, edit {stage.bundles}/demo.yaml: the next call has it, with no restart",
        f"set OPENAI_API_KEY and ELEVEN_API_KEY, then {command} dev: the bundle interview on real providers",
    ):
        console.print(f"  {line}", soft_wrap=True)


def _item(item: dict[str, Any]) -> Text:
    """One item of a transcript, on one line."""
    who, what = item["type"], ""
    match item["type"]:
        case "message":
            who = item.get("agent") or item.get("identity") or item["role"]
            what = item["text"] + (" [interrupted]" if item.get("interrupted") else "")
        case "tool_call":
            arguments = ", ".join(f"{name}={json.dumps(value)}" for name, value in item["arguments"].items())
            who, what = "tool", f"{item['name']}({arguments})"
            if item["output"]:
                what += f" → {item['output']}"
        case "handoff":
            what = f"{item['from']} → {item['to']}"
        case "event":
            what = item["name"]
        case "error":
            what = f"{item['source']}: {item['message']}"
    line = Text(f"  {item['seq']:>3}  ", style="dim")
    line.append(f"{who:<12}", style="cyan" if item.get("role") == "user" else "green")
    line.append(str(what), style="")
    return line


def stay(stage: Stage) -> None:
    """Stay up until Ctrl-C, and say how another terminal gets at everything."""
    stage.narrator.title("Still running, until Ctrl-C. In another terminal:")
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in stage.environment.items() if value)
    stage.narrator.console.print(f"  export {exports}", soft_wrap=True)
    stage.narrator.console.print(f"  {_command()} session start --bundle demo --json", soft_wrap=True)
    try:
        while stage.worker and stage.worker.pid:
            time.sleep(0.5)
        stage.narrator.line("", "failed", f"the worker has ended; see {stage.worker_log}")
    except KeyboardInterrupt:
        stage.narrator.line("", "stop", "stopping")


def _command() -> str:
    """How this command line is called here: `agent` where it is on the PATH."""
    beside = Path(sys.executable).parent / "agent"
    if shutil.which("agent") or not beside.exists():
        return "agent"
    here = Path.cwd()
    return str(beside.relative_to(here) if here in beside.parents else beside)
