"""Run every ```python block of the given Markdown files, each file's blocks in one process and one empty folder.

A block that starts with `# not run` is left out, and must say why on that line.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> int:
    ran = 0
    for name in sys.argv[1:]:
        blocks = re.findall(r"```python\n(.*?)```", Path(name).read_text(), re.DOTALL)
        blocks = [block for block in blocks if not block.startswith("# not run")]
        if not blocks:
            continue
        with tempfile.TemporaryDirectory() as folder:
            print(f"{name}: {len(blocks)} blocks", flush=True)
            if subprocess.run([sys.executable, "-c", "\n".join(blocks)], cwd=folder).returncode != 0:
                print(f"{name}: an example failed")
                return 1
        ran += len(blocks)
    print(f"{ran} examples ran")
    return 0 if ran else 1


if __name__ == "__main__":
    raise SystemExit(main())
