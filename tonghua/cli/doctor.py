"""`tonghua doctor` reports what this machine has and lacks."""

from typing import TYPE_CHECKING

from ..errors import ResourceError
from ..system.environment import language
from ..terminal.printer import put, put_json
from ..text import Text
from .shared import AsJson, Debug, Offline

if TYPE_CHECKING:
    from ..doctor.diagnosis import Diagnosis

MARKS = {"ok": Text("正常  ", "ok       "), "note": Text("提示  ", "note     "), "problem": Text("问题  ", "problem  ")}
INDENT = Text("      → ", "         -> ")


def doctor(offline: Offline = False, as_json: AsJson = False, debug: Debug = False) -> None:
    """Print every diagnosis. Raises ResourceError (exit code 5) after the last one if any is a problem."""
    from ..doctor.examine import examine

    findings = []
    for finding in examine(offline):
        findings.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        put_json({"findings": [finding.as_json() for finding in findings]})
    problems = sum(finding.state == "problem" for finding in findings)
    if problems:
        raise ResourceError(
            f"这台机器现在还不能训练：请先解决标着“问题”的 {problems} 项",
            f"nothing can be trained on this machine yet: first mend what is marked as a problem ({problems})",
        )


def _show(finding: "Diagnosis") -> None:
    put(MARKS[finding.state].to(language()) + finding.text.to(language()))
    if finding.mend:
        put(INDENT.to(language()) + finding.mend.to(language()))
