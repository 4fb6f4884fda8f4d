"""Print the shell commands of a README's code block marked `<!-- NAME -->` on the line before it."""

import re
import sys
from pathlib import Path


def block(text: str, name: str) -> str:
    found = re.search(rf"<!-- {re.escape(name)} -->\n```\w*\n(.*?)```", text, re.DOTALL)
    if found is None:
        raise SystemExit(f"no code block marked {name}")
    return found.group(1)


if __name__ == "__main__":
    print(block(Path(sys.argv[1]).read_text(), sys.argv[2]))
