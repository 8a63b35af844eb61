"""Git's plumbing, called so that the user's branch, index, hooks, identity and configuration play no part."""

import os
import subprocess
from pathlib import Path

from contracts.errors import FreshtuneError

# Whoever makes the commit, in an empty home as well.
_IDENTITY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "freshtune"), ("EMAIL", "freshtune@localhost"))
}


class GitError(FreshtuneError):
    """Git refused; the message is git's own."""


def git(*arguments: str, stdin: bytes = b"", index: Path | None = None) -> bytes:
    """Run git in the current directory and return what it prints. `index` takes the place of the user's index.

    Raises:
        GitError: git is missing or refused.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= _IDENTITY | {"GIT_OPTIONAL_LOCKS": "0", "GIT_LITERAL_PATHSPECS": "1", "LC_ALL": "C"}
    if index:
        environment["GIT_INDEX_FILE"] = str(index)
    options = ["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false"]
    try:
        done = subprocess.run(
            ["git", *options, *arguments], input=stdin, capture_output=True, env=environment, check=False
        )
    except FileNotFoundError:
        raise GitError("git is not installed: install it to keep snapshots of what every run was made of") from None
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
        raise GitError(f"`git {arguments[0]}` failed: {words}")
    return done.stdout


def line(*arguments: str, stdin: bytes = b"", index: Path | None = None) -> str:
    """The one line that git prints.

    Raises:
        GitError: as `git`.
    """
    return git(*arguments, stdin=stdin, index=index).decode("utf-8", "surrogateescape").strip()


def commit_of(name: str) -> str:
    """The commit that a ref, HEAD or an abbreviated hash names; empty when there is none."""
    try:
        return line("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except GitError:
        return ""


def files(tree: str, below: str = "") -> dict[str, tuple[str, str]]:
    """The files of a commit or tree at or below a path: path to (mode, blob).

    Raises:
        GitError: there is no such tree.
    """
    found = {}
    for entry in git("ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0"):
        if entry:
            head, name = entry.split(b"\t", 1)
            mode, _, blob = head.decode().split()
            path = os.fsdecode(name)
            if not below or path == below or path.startswith(f"{below}/"):
                found[path] = (mode, blob)
    return found
