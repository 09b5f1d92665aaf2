"""Record the examples of the OpenAPI document anew: `python -m tests.api.http.record_examples` from the repository's root.

What `examples_story.py` tells is what the API answers today. `tests/api/http/test_openapi_examples.py` says when to do this.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

from api.http.openapi_examples import EXAMPLES
from tests.api.http.examples_story import story, write_examples


async def _record() -> str:
    with tempfile.TemporaryDirectory() as folder:
        async with story(Path(folder)) as one:
            written = await write_examples(one)
    lines = (
        f"{json.dumps(name)}: {json.dumps(said, ensure_ascii=False)}"
        for name, said in sorted(written.items())
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    EXAMPLES.write_text(asyncio.run(_record()))
