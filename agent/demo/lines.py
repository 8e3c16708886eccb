"""What the callers say and the names they rely on: the demo's side of `bundles/demo.yaml`."""

from typing import Final

DESK: Final = "desk"
SPECIALIST: Final = "specialist"
TOOL: Final = "lookup_order"

ASK_FOR_ORDER: Final = "where is my order number seven"
FOUND: Final = "on its way"
"""Part of what the tool answers for order seven."""
ASK_FOR_SPECIALIST: Final = "i would like to talk to a specialist"
ASK_FOR_STORY: Final = "please tell me a story"
GOODBYE: Final = "thank you and goodbye"
