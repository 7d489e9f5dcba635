"""One file in many commits, in one call of git."""

from collections.abc import Iterable

from swarm.repo.repository import Repo


def versions(repo: Repo, commits: Iterable[str], path: str) -> dict[str, str]:
    """The text of the file by commit, without those in which it is missing or not UTF-8 text."""
    asked = sorted(set(commits))
    if not asked or "\n" in path:
        return {}
    answer = repo.git("cat-file", "--batch", stdin="".join(f"{commit}:{path}\n" for commit in asked).encode())
    texts, at = {}, 0
    for commit in asked:
        end = answer.index(b"\n", at)
        head, at = answer[at:end].split(b" "), end + 1
        if len(head) != 3 or not head[2].isdigit():  # "... missing"
            continue
        content, at = answer[at : at + int(head[2])], at + int(head[2]) + 1
        if head[1] == b"blob":
            try:
                texts[commit] = content.decode()
            except UnicodeDecodeError:
                continue
    return texts
