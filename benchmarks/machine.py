"""Where and when something was measured, and with which versions."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version


def machine() -> dict[str, str]:
    """By name, as it is printed below a table."""
    return {
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "Linux": platform.release(),
        "livekit-agents": version("livekit-agents"),
        "livekit": version("livekit"),
        "measured": datetime.now(UTC).date().isoformat(),
    }
