"""The worker's bundles: compiled at start, again when a file changes, and what they need."""

import asyncio
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from agent import settings as process_settings
from agent.confidential import guard_stderr
from agent.providers import registry
from agent.settings import Settings
from config_store.compiled import Compiler, CompileReport
from config_store.folder import BundleFolder
from config_store.published import Publication
from config_store.watch import watch_bundles

MOST_TROUBLES = 20
"""Bundles that are told of one by one where somebody asks how the worker is."""

WATCH_AGAIN_SECONDS = 1.0
"""How long until the folder is looked at again after a failure that nobody foresaw."""

logger = logging.getLogger(__name__)


class NoBundleError(Exception):
    """No session can start with what is in the bundles folder."""

    def __init__(self, message: str, report: str) -> None:
        super().__init__(message)
        self.report = report


class Bundles:
    """The bundles of one worker. `AGENT_BUNDLES` is the folder; jobs read what this compiles from it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._environment: Mapping[str, str] = process_settings.environment()
        self._compiler = Compiler(
            BundleFolder(settings.bundles, None),
            Publication(settings.compiled),
            self._environment,
            registry.catalog(settings, self._environment, to_check=True),
            registry.release(),
        )
        self._report: CompileReport | None = None
        self._compiled_at = time.monotonic()

    def compile(self) -> CompileReport:
        """
        Compile the whole folder.

        Raises:
            NoBundleError: Nothing in it can be started, and nothing was good before.
        """
        report = self._report = self._compiler.run()
        self._compiled_at = time.monotonic()
        self._guard(report.key_variables)
        _log(report)
        if not report.startable:
            where = self._settings.bundles
            if report.folder_problem:
                raise NoBundleError(
                    f"{report.folder_problem}; set AGENT_BUNDLES to the folder of bundles", ""
                )
            raise NoBundleError(
                f"no usable bundle in {where}; correct them, `agent bundles check` shows each mistake",
                "\n".join(report.quarantined.values()),
            )
        return report

    def usable(self) -> tuple[str, ...]:
        """Names of the bundles that sessions can start with now."""
        return self._report.startable if self._report else ()

    def quarantined(self) -> tuple[str, ...]:
        """Names of the bundles that are broken and not served."""
        return tuple(self._report.quarantined) if self._report else ()

    def last_good(self) -> tuple[str, ...]:
        """Names of the bundles that are broken and served as they last were."""
        return tuple(self._report.served_last_good) if self._report else ()

    def troubles(self) -> list[str]:
        """One line for each bundle that is not served as it stands in the folder, the first of very many."""
        lines = [trouble.line for trouble in _troubles(self._report)] if self._report else []
        if len(lines) > MOST_TROUBLES:
            more = len(lines) - MOST_TROUBLES
            lines[MOST_TROUBLES:] = [f"and {more} more; agent bundles check shows all"]
        return lines

    def age_seconds(self) -> float:
        """Time since the bundles were compiled, in seconds."""
        return time.monotonic() - self._compiled_at

    def providers(self) -> frozenset[str]:
        """The providers that any of the bundles uses, to be loaded before jobs fork."""
        return self._report.providers if self._report else frozenset()

    def key_variables(self) -> frozenset[str]:
        """The variables that any of the bundles names as those with a key in them."""
        return self._report.key_variables if self._report else frozenset()

    def _guard(self, variables: frozenset[str]) -> None:
        """From now on nothing is printed of these keys."""
        guard_stderr(self._settings, variables)

    async def watch(self) -> None:
        """Compile what changes, until cancelled; a broken edit is logged with its place and serves nobody."""

        def changed(report: CompileReport) -> None:
            before, self._report = self._report, report
            self._compiled_at = time.monotonic()
            self._guard(report.key_variables)
            if report.changed:
                logger.info("bundles changed: %s", ", ".join(report.changed))
            _log(report, before)

        while True:
            try:
                await watch_bundles(self._compiler, on_report=changed)
            except Exception:
                # what was published goes on serving; a watch that is gone for good would be found days later
                logger.exception("the bundles folder could not be looked at; trying again")
                await asyncio.sleep(WATCH_AGAIN_SECONDS)


def check_folder(settings: Settings) -> CompileReport:
    """What is right and wrong in the folder now, without serving anything of it."""
    environment = process_settings.environment()
    with tempfile.TemporaryDirectory() as out:
        return Compiler(
            BundleFolder(settings.bundles, None),
            Publication(Path(out)),
            environment,
            registry.catalog(settings, environment, to_check=True),
        ).run()


def _log(report: CompileReport, before: CompileReport | None = None) -> None:
    """
    One line for each bundle: its first mistake with its place; `agent bundles check` shows all of them.

    Args:
        report: Of the bundles as they are now.
        before: The report before an edit: what was said then is said again only of what was edited.
    """
    known = set(_troubles(before)) if before else set()
    for trouble in _troubles(report):
        if trouble not in known or trouble.name in report.compiled:
            logger.log(trouble.level, "%s", trouble.line)


class _Trouble(NamedTuple):
    """What is not served as it stands in the folder, and how bad that is."""

    name: str
    level: int
    line: str


def _troubles(report: CompileReport) -> Iterator[_Trouble]:
    for name, text in report.quarantined.items():
        yield _Trouble(name, logging.WARNING, f"bundle {name} is not served: {_first(text)}")
    for name, text in report.served_last_good.items():
        line = f"bundle {name} is broken, its last good version is served: {_first(text)}"
        yield _Trouble(name, logging.ERROR, line)
    if report.routes_problem:
        yield _Trouble("", logging.ERROR, f"routes.yaml is broken: {_first(report.routes_problem)}")


def _first(text: str) -> str:
    """The first problem of a report, which begins with its place."""
    lines = text.strip().splitlines()
    return next((line for line in lines if ": " in line and not line.startswith(("bundle ", " "))), lines[0])
