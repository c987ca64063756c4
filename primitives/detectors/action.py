"""What kind of act a tool call is, from its name and, for a shell, from its command."""

from __future__ import annotations

import re
from functools import lru_cache

from primitives.mutating import is_mutating

READ = 0
WRITE = 1  # changes something outside of the conversation: a booking, a message sent, a file
EDIT = 2  # changes a file (WRITE too)
TEST = 4  # runs a test suite
RUN = 8  # executes code or a build
SHELL = 16  # a shell, an interpreter: what it does is in its arguments
THINK = 32  # no effect, no observation
FINISH = 64  # hands in the answer
PLAN = 128  # keeps the agent's own list of things to do

COMMAND_CHARS = 2_000


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SHELLS = _names("""
    bash shell sh zsh cmd powershell terminal exec command execute ipython python jupyter local_shell run_command
    execute_command exec_command execute_bash run_shell_command computer_terminal shell_command run_terminal_cmd
    run_in_terminal execute_code python_interpreter code_interpreter execute_ipython_cell run_ipython repl
""")
_EDITS = _names("""
    edit write multiedit notebookedit apply_patch str_replace str_replace_editor str_replace_based_edit_tool create
    create_file write_file edit_file insert replace search_replace write_to_file replace_in_file edit_notebook
    delete_file file_editor write_new_file update_file
""")
_THINKS = _names("think reflect plan sequentialthinking")
_FINISHES = _names("""
    finish submit done final_answer attempt_completion complete_task task_done answer submit_answer exit_plan_mode
    exitplanmode submit_final_answer
""")
_TEST = re.compile(
    r"\b(?:py\.?test|unittest|nose2?|tox|nox|jest|vitest|mocha|ctest|rspec|phpunit|runtests(?:\.py)?)\b"
    r"|\b(?:npm|yarn|pnpm|bun|go|cargo|mvn|gradlew?|make|dotnet|swift|manage\.py|bin)[ /](?:run )?(?:test|check)\b"
)
_TEST_HINTS = ("test", "nose", "tox", "nox", "jest", "mocha", "rspec", "phpunit", "check")
_EDIT = re.compile(
    r"\bsed\s+(?:-\w+\s+)*-i|\bsed -\w*i\b|\bapply_patch\b|\bgit apply\b|\bpatch -p|\btee \S|\bperl -\w*i"
    r"|(?<![\d&>=\-])>{1,2}\s?(?!/dev/|&|=)[\w./~$\"'-]|\.write_text\(|open\([^)]*['\"][wa]\b"
)
_EDIT_HINTS = ("sed ", "apply", "patch", "tee ", "perl", ">", "write_text", "open(")
_RUN = re.compile(
    r"\b(?:python[\d.]*|node|deno|ruby|perl|java|go run|cargo (?:run|build|check)|make|gcc|tsc|npm run|npx)\b"
)
_CHANGE = re.compile(
    r"\b(?:rm|mv|cp|mkdir|touch|chmod|git (?:commit|push|checkout|reset|stash|merge|rebase)|pip install|npm i)\b"
)


@lru_cache(maxsize=4096)
def of_name(name: str) -> int:
    """Flags that the tool's name alone gives."""
    short = name.rsplit("__", 1)[-1].rsplit(".", 1)[-1].lower()
    if short in _THINKS:
        return THINK
    if short in _FINISHES:
        return FINISH
    if short in _SHELLS:
        return SHELL
    if short in _EDITS or short.replace("-", "_") in _EDITS:
        return WRITE | EDIT
    if short in ("pytest", "run_tests", "runtests", "test", "unittest"):
        return TEST | RUN
    if any(word in short for word in ("todo", "plan", "task")):
        return PLAN | (WRITE if is_mutating(name) and "todo" not in short else READ)
    return WRITE if is_mutating(name) else READ


def flags_of(name: str | None, args_text: str | None) -> int:
    """Flags of a call. A shell's command is read up to COMMAND_CHARS; an editor's "view" is no edit."""
    flags = of_name(name or "")
    if flags == WRITE | EDIT:
        return READ if args_text and '"view"' in args_text[:200] else flags
    if not args_text or flags & (THINK | FINISH):
        return flags
    if flags & SHELL or args_text.startswith('{"command": "'):
        command = args_text[:COMMAND_CHARS].replace("\\n", " ; ")
        return (flags & ~WRITE) | SHELL | _of_command(command)
    return flags


def _of_command(command: str) -> int:
    flags = 0
    if any(h in command for h in _TEST_HINTS) and _TEST.search(command):
        flags |= TEST | RUN
    elif _RUN.search(command):
        flags |= RUN
    if any(h in command for h in _EDIT_HINTS) and _EDIT.search(command):
        flags |= WRITE | EDIT
    elif _CHANGE.search(command):
        flags |= WRITE
    return flags
