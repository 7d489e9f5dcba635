"""A stand-in for aider that really asks: `asking_agent.py HABIT ARGUMENTS...` posts its prompt to OPENAI_API_BASE and
does what the answer says. Its habit: `none`, `silent` (says nothing of a refusal) or `deaf` (never asks).
"""

import json
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path


def main() -> None:
    habit, arguments = sys.argv[1], sys.argv[2:]
    if arguments == ["--version"]:
        print("asking 1.2.3")
        return
    if habit == "deaf":
        return
    prompt = Path(arguments[arguments.index("--message-file") + 1]).read_text()
    try:
        answer = ask(f"Answer with SEARCH/REPLACE blocks.\n{prompt}")
    except urllib.error.HTTPError as error:
        names = {401: "AuthenticationError", 429: "RateLimitError"}
        if habit != "silent":
            print(f"litellm.{names[error.code]}: it said {error.code}")
        return
    block = re.search(r"(?s)^(\S+)\n```python\n<<<<<<< SEARCH\n(.*)\n=======\n(.*)\n>>>>>>> REPLACE", answer)
    print(answer)
    if block is not None:
        edit(Path(block[1]), block[2], block[3])


def ask(text: str) -> str:
    body = {"model": "scripted", "messages": [{"role": "user", "content": text}]}
    url = f"{os.environ['OPENAI_API_BASE']}/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        said: str = json.load(response)["choices"][0]["message"]["content"]
    return said


def edit(path: Path, old: str, new: str) -> None:
    try:
        path.write_text(path.read_text().replace(old, new))
        print(f"Applied edit to {path}")
    except PermissionError as error:
        print(f"Unable to write file {path} after 5 attempts: {error}")


main()
