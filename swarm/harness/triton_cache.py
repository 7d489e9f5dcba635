"""Where Triton keeps what it has compiled, for kernels that let nobody move a file from one folder to another.

Triton writes a file in a folder of its own and then moves it up. Landlock's first version (Linux 5.13 to 5.18) refuses
that with EXDEV, whatever the rules are. Here the draft lies beside its place. TRITON_CACHE_MANAGER names this class.
"""

import uuid
from pathlib import Path

from triton.runtime.cache import FileCacheManager


class SameFolderCache(FileCacheManager):  # type: ignore[misc]
    def put(self, data: bytes | str, filename: str, binary: bool = True) -> str:
        """Writes it whole or not at all, and returns its path. `binary` is Triton's word and follows from `data`."""
        place = Path(self.cache_dir, filename)
        draft = place.with_name(f".{uuid.uuid4().hex}")
        draft.write_bytes(data if isinstance(data, bytes) else str(data).encode())
        draft.replace(place)
        return str(place)
