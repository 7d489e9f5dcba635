"""The JSON schema of schema mode: flat, no references, no defaults, so that strict servers and Gemini accept it."""

from collections.abc import Mapping

_EDIT: Mapping[str, object] = {
    "type": "object",
    "properties": {"search": {"type": "string"}, "replace": {"type": "string"}},
    "required": ["search", "replace"],
    "additionalProperties": False,
}

SCHEMA: Mapping[str, object] = {
    "type": "object",
    "properties": {
        "hypothesis": {"type": "string"},
        "family": {"type": "string"},
        "operator": {"type": "string", "enum": ["tune", "structural", "ablate", "recombine"]},
        "cites": {"type": "array", "items": {"type": "string"}},
        "expects": {"type": "number"},
        "vram_mib": {"type": ["number", "null"]},
        "edits": {"type": "array", "items": _EDIT},
    },
    "required": ["hypothesis", "family", "operator", "cites", "expects", "vram_mib", "edits"],
    "additionalProperties": False,
}
